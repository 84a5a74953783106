package session_test

import (
	"testing"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

// A message's life is counted on the log's clock. What this member's own clock
// says, which a restart or a suspend may have moved by a day, has no say.
func TestSnapshotsExpireByTheLog(t *testing.T) {
	const day = 24 * 60 * 60 * 1000
	for _, c := range []struct {
		name       string
		ahead      int64 // the log's clock before this member's
		then, wait int64 // milliseconds of log time until the last entry, and without any after it
		want       bool
	}{
		{"young", 0, 5_000, 4_000, true},
		{"over by the log", 0, 11_000, 0, false},
		{"over since the last entry", 0, 5_000, 6_000, false},
		{"young, this clock set back a day", day, 5_000, 4_000, true},
		{"over by the log, this clock set back a day", day, 11_000, 0, false},
		{"over since the last entry, this clock set back a day", day, 5_000, 6_000, false},
		{"young, this clock a day ahead", -day, 5_000, 4_000, true},
		{"over since the last entry, this clock a day ahead", -day, 5_000, 6_000, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, stream.Limits{}, session.Config{})
			w.now += 2 * day
			w.core.Tick(w.now)
			w.ahead = c.ahead
			w.place(stream.Item{Publication: stream.Publication{Subject: "/x", Payload: []byte("m"), Expiry: 10}})
			w.settle()
			w.now += c.then
			w.say("other", "/y")
			w.settle()
			w.pass(c.wait)
			id, conn := w.greet()
			w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/x", Start: nackproto.Start{Kind: nackproto.StartLast}})
			w.settle()
			got := false
			for _, f := range conn.frames(t) {
				if m, ok := f.(*nackproto.MessageX); ok {
					got = m.Snapshot
				}
			}
			if got != c.want {
				t.Errorf("got a snapshot: %v, want %v", got, c.want)
			}
		})
	}
}

// Time passes for a member that starts with an old log, also before the first
// entry that it sees: it does not take old messages for young ones for ever.
func TestSnapshotsExpireOnAnOldLog(t *testing.T) {
	w := newWorld(t, 1, stream.Limits{}, session.Config{})
	w.place(stream.Item{Publication: stream.Publication{Subject: "/x", Payload: []byte("m"), Expiry: 10}})
	w.now -= int64(time.Hour / time.Millisecond)
	w.restart(session.Config{})
	w.pass(11_000)
	id, conn := w.greet()
	w.send(id, &nackproto.Subscribe{Sub: 1, Filter: "/x", Start: nackproto.Start{Kind: nackproto.StartLast}})
	w.settle()
	if got := texts(conn.frames(t)); len(got) != 2 {
		t.Errorf("got %q, want SUBSCRIBED and SUBJECT: the message has expired", got)
	}
}
