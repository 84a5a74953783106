package session

import (
	"fmt"
	"strings"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// Limits bound what clients can make a core keep and do. A zero field means its
// default. Each stands in PROTOCOL.md §9, with what happens beyond it; a test
// compares the two.
type Limits struct {
	MaxFrame         int           // bytes of a frame that a client sends, after WELCOME; default 1 MiB
	MaxSubscriptions int           // of a session; default 256
	FilterBytes      int           // of a session's filters, by filterCost; default 1 MiB
	MaxSubjects      int           // that a session follows; default 1 Mi
	MaxUnconfirmed   int           // publishes of a session; default 4096
	UnconfirmedBytes int           // of a session's publishes, beyond which it is not read; default 1 MiB
	WaitingBytes     int           // of all sessions' publishes, beyond which those who publish are not read; default 64 MiB
	PartialBytes     int           // of all sessions' frames that did not come whole; default 64 MiB
	MaxAliases       int           // that a publisher may bind; default 256
	ControlBytes     int           // of answers that a session leaves waiting; default 256 KiB
	Heartbeat        time.Duration // default 30 s
	HelloTimeout     time.Duration // default 10 s
	FrameTimeout     time.Duration // from a frame's first byte to its last; default 30 s
	StuckTimeout     time.Duration // how long a connection may take no bytes; default 30 s
	NackLinger       time.Duration // how long the same NACK is not answered again; default 1 s
	BehindTimeout    time.Duration // how long a client that is ahead of this member waits; default 5 s
	NackRate         int           // of a session, a second over 10 s, beyond which it is closed; default 100
	PublishTimeout   time.Duration // how long a publish waits for its place before it is answered UNKNOWN; default 5 s
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	last := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.MaxFrame, nackproto.DefaultMaxFrame)
	set(&l.MaxSubscriptions, nackproto.DefaultMaxSubscriptions)
	set(&l.FilterBytes, 1<<20)
	set(&l.MaxSubjects, 1<<20)
	set(&l.MaxUnconfirmed, nackproto.DefaultMaxUnconfirmed)
	set(&l.UnconfirmedBytes, 1<<20)
	set(&l.WaitingBytes, 64<<20)
	set(&l.PartialBytes, 64<<20)
	set(&l.MaxAliases, nackproto.DefaultMaxAliases)
	set(&l.ControlBytes, 256<<10)
	set(&l.NackRate, 100)
	last(&l.Heartbeat, nackproto.DefaultHeartbeat)
	last(&l.HelloTimeout, nackproto.HelloTimeout)
	last(&l.FrameTimeout, 30*time.Second)
	last(&l.StuckTimeout, 30*time.Second)
	last(&l.PublishTimeout, 5*time.Second)
	last(&l.NackLinger, time.Second)
	last(&l.BehindTimeout, 5*time.Second)
	return l
}

// Validate says in one sentence which field is out of its range.
func (l Limits) Validate() error {
	l = l.withDefaults()
	for _, c := range []struct {
		ok   bool
		text string
	}{
		{l.MaxFrame >= 1<<10 && l.MaxFrame <= 1<<30, "the frame limit must be 1024 to 1073741824 bytes"},
		{l.MaxSubscriptions >= 1 && l.MaxSubscriptions <= 1<<20, "the limit of subscriptions must be 1 to 1048576"},
		{l.FilterBytes >= 64<<10 && l.FilterBytes <= 1<<30, "the limit of filters must be 65536 to 1073741824 bytes"},
		{l.MaxSubjects >= 1, "the limit of subjects must be positive"},
		{l.MaxUnconfirmed >= 1 && l.MaxUnconfirmed <= 1<<20, "the limit of unconfirmed publishes must be 1 to 1048576"},
		{l.UnconfirmedBytes >= 1 && l.WaitingBytes >= 1 && l.PartialBytes >= l.MaxFrame, "the limits in bytes must be positive, and that of partial frames not below the frame limit"},
		{l.MaxAliases >= 0 && l.MaxAliases <= 1<<20, "the limit of aliases must be 0 to 1048576"},
		{l.ControlBytes >= 16<<10, "the limit of waiting answers must be at least 16384 bytes"},
		{l.Heartbeat >= time.Second && l.Heartbeat <= 24*time.Hour, "the heartbeat must be 1s to 24h"},
		{l.HelloTimeout >= time.Second && l.FrameTimeout >= time.Second && l.StuckTimeout >= time.Second && l.PublishTimeout >= time.Second, "the timeouts must be at least 1s"},
		{l.NackLinger >= 0 && l.BehindTimeout >= 0, "the waits must not be negative"},
		{l.NackRate >= 1, "the limit of NACKs must be positive"},
	} {
		if !c.ok {
			return fmt.Errorf("session: %s", c.text)
		}
	}
	return nil
}

// filterCost is what a filter counts of FilterBytes: one with a wildcard has a node of
// the tree for each segment besides.
func filterCost(f stream.Filter) int {
	if f.IsExact() {
		return len(f)
	}
	return len(f) + 64*strings.Count(string(f), "/")
}

// inTicks rounds up, so that a timeout is never short.
func inTicks(d time.Duration) ticks {
	return ticks((d.Milliseconds() + perTick - 1) / perTick)
}
