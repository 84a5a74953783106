package nacknet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

func TestSubscriberIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		s := subscribe(t, c, p)
		before := c.Stats()
		for seq := 42; seq < 1042; seq++ {
			p.send(message(seq))
			if e, err := s.Next(t.Context()); err != nil || int(e.(*nackproto.Delivery).Message.Position.Seq) != seq {
				t.Fatalf("message %d: %v, %v", seq, e, err)
			}
			if seq%100 == 0 {
				time.Sleep(30 * time.Second)
				p.send(&nackproto.Heartbeat{Index: stream.Index(seq), Tops: []nackproto.Top{{Alias: 7, Seq: stream.Seq(seq)}}})
			}
		}
		after := c.Stats()
		if after.FramesSent != before.FramesSent || after.BytesSent != before.BytesSent {
			t.Errorf("1,000 messages and 10 heartbeats made the subscriber send: %+v, then %+v", before, after)
		}
		p.wantIdle("a healthy subscriber says nothing", time.Minute)
	})
}

func TestPublishWaitsForItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		go func() {
			p.want("Publish asks for a place", `PUBLISH number=1 alias=1 name="/a" retain expiry=60s props=0101 payload="hi"`)
			p.send(&nackproto.Confirm{Number: 1, Runs: []nackproto.Run{{Code: nackproto.Placed, Count: 1, Position: stream.Position{Epoch: 1, Seq: 5}}}})
			p.want("the second too", `PUBLISH number=2 alias=1 payload=""`)
			p.send(&nackproto.Confirm{Number: 2, Runs: []nackproto.Run{{Code: nackproto.Denied, Count: 1}}})
		}()
		at, err := c.Publish(t.Context(), stream.Publication{Subject: "/a", Payload: []byte("hi"), Flags: stream.Retain, Expiry: 60, Props: []byte{1, 1}})
		if err != nil || at != (stream.Position{Epoch: 1, Seq: 5}) {
			t.Errorf("got %v, %v, want the position that CONFIRM said", at, err)
		}
		_, err = c.Publish(t.Context(), stream.Publication{Subject: "/a"})
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != nackproto.Denied {
			t.Errorf("got %v, want a RefusedError", err)
		}
		if _, err := c.Publish(t.Context(), stream.Publication{Subject: "/a/+"}); !errors.Is(err, stream.ErrSubject) {
			t.Errorf("a wildcard in a publish: %v", err)
		}
		if _, err := c.Publish(t.Context(), stream.Publication{Subject: "/a", Payload: make([]byte, 1<<20)}); !errors.Is(err, nackproto.ErrTooLarge) {
			t.Errorf("a publish over the frame limit: %v", err)
		}
	})
}

// The outcome of a publish that nobody waited for is unknown, and so it is said.
func TestPublishOutcomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{MaxUnanswered: 2})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go p.want("it was sent", `PUBLISH number=1 alias=1 name="/a" payload=""`)
		if _, err := c.Publish(ctx, stream.Publication{Subject: "/a"}); !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the context ended: %v", err)
		}
		p.net.Close()
		synctest.Wait()
		errs := make(chan error, 2)
		if err := c.PublishAsync(t.Context(), stream.Publication{Subject: "/a"}, func(_ stream.Position, err error) { errs <- err }); err != nil {
			t.Fatal(err)
		}
		ctx2, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		if err := c.PublishAsync(ctx2, stream.Publication{Subject: "/a"}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("more than MaxUnanswered: %v, want it to block until the context ends", err)
		}
		c.Close()
		if err := <-errs; !errors.Is(err, ErrClosed) || errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("a publish that was never sent: %v, want ErrClosed only", err)
		}
		if _, err := c.Publish(t.Context(), stream.Publication{Subject: "/a"}); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// A connection dies without a word: the next server is asked, subscriptions go on
// after their positions, and what has no answer is published again.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{Servers: []string{"nack://one", "nack://two"}})
		defer c.Close()
		s := subscribe(t, c, p)
		p.send(message(42))
		wantEvent(t, s, live("42"))
		answered := make(chan stream.Position, 1)
		if err := c.PublishAsync(t.Context(), stream.Publication{Subject: "/b", Payload: []byte("p")}, func(at stream.Position, err error) { answered <- at }); err != nil {
			t.Fatal(err)
		}
		p.want("a publish", `PUBLISH number=1 alias=1 name="/b" payload="p"`)
		p.net.Close()
		wantEvent(t, s, "down NORMAL after=0s")

		p = n.next()
		if p.url != "nack://two" {
			t.Errorf("the client went to %s, want the next server", p.url)
		}
		p.welcome()
		p.want("the subscription goes on", `SUBSCRIBE sub=1 filter="/a" start=index:00000000000000c1:100 "/a"@0000000000000001:42`)
		p.want("the publish is repeated", `PUBLISH number=1 alias=1 name="/b" payload="p"`)
		p.send(&nackproto.Confirm{Number: 1, Runs: []nackproto.Run{{Code: nackproto.Placed, Count: 1, Position: stream.Position{Epoch: 3, Seq: 9}}}})
		if at := <-answered; at != (stream.Position{Epoch: 3, Seq: 9}) {
			t.Errorf("placed at %v", at)
		}
		p.send(&nackproto.Subscribed{Sub: 1, Index: 100}, &nackproto.Subject{Alias: 7, Epoch: testEpoch, After: 42, Upto: 43, Name: "/a"},
			message(43), &nackproto.Continuous{Alias: 7, Seq: 43})
		wantEvent(t, s, `up node="n" cluster=00000000000000c1`)
		wantEvent(t, s, strings.Replace(live("43"), "live", "recovered", 1))
		wantEvent(t, s, "continuous /a 0000000000000001:43")
	})
}

// A client that is not read stops reading: the server feels it, memory does not.
func TestSlowApplicationHoldsTheServerBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{Buffer: 8})
		defer c.Close()
		s := subscribe(t, c, p)
		sent := 42
		big := make([]byte, 8<<10)
		for {
			p.net.SetWriteDeadline(time.Now().Add(time.Second))
			b := nackproto.AppendMessage(nil, 7, stream.Seq(sent), big)
			if k, err := p.net.Write(b); err != nil {
				// What the client took of the frame is on its side: the rest goes later.
				p.net.SetWriteDeadline(time.Time{})
				go p.net.Write(b[k:])
				break
			}
			if sent++; sent > 1000 {
				t.Fatal("the client took a thousand messages that nobody read")
			}
		}
		if held := sent - 42; held > 8+3*readSize/len(big) {
			t.Errorf("the client holds about %d messages, want no more than its buffer and two reads", held)
		}
		// Silence is not measured meanwhile: the client does not leave.
		time.Sleep(time.Hour)
		for seq := 42; seq <= sent; seq++ {
			e, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d, ok := e.(*nackproto.Delivery); !ok || int(d.Message.Position.Seq) != seq {
				t.Fatalf("got %v, want message %d", e, seq)
			}
		}
		if c.Stats().Connections != 1 {
			t.Errorf("%d connections, want the first to stay", c.Stats().Connections)
		}
	})
}

func TestGapIsNacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		s := subscribe(t, c, p)
		p.send(message(42), message(45))
		p.want("one NACK", "NACK alias=7 epoch=0000000000000001 after=42 upto=45")
		p.send(&nackproto.MessageX{Alias: 7, Seq: 43, Index: 9, Payload: []byte("x")}, message(44), message(45), message(46))
		for _, want := range []string{live("42"), "recovered 43", "recovered 44", "recovered 45", live("46")} {
			if kind, seq, ok := strings.Cut(want, " "); ok && kind == "recovered" {
				want = strings.Replace(live(seq), "live", "recovered", 1)
			}
			wantEvent(t, s, want)
		}
		p.wantIdle("the gap is closed", time.Minute)
	})
}

func TestSilenceLeadsToTheNextServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{Servers: []string{"nack://one", "nack://two"}})
		defer c.Close()
		start := time.Now()
		f, err := p.frame(time.Hour)
		if err != nil || !strings.HasPrefix(f.String(), "CLOSE SILENT") {
			t.Fatalf("got %v, %v, want CLOSE SILENT", f, err)
		}
		if d := time.Since(start).Round(time.Second); d != 75*time.Second {
			t.Errorf("after %v, want two and a half heartbeats", d)
		}
		if q := n.next(); q.url != "nack://two" {
			t.Errorf("the client went to %s, want the next server", q.url)
		} else {
			q.net.Close()
		}
	})
}

func TestDrainLeavesWithinTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		start := time.Now()
		p.send(&nackproto.Drain{Within: 20 * time.Second, Servers: []string{"nack://other"}})
		p.want("the client leaves", `CLOSE NORMAL retry=0s reason="the server drains"`)
		p.wantEnd("behind CLOSE")
		q := n.next()
		if d := time.Since(start); q.url != "nack://other" || d > 21*time.Second {
			t.Errorf("after %v to %s, want the named server within the time", d, q.url)
		}
		q.welcome()
		q.wantIdle("all is well", time.Minute)
	})
}

// A server that is busy says for how long; with another server there is no wait.
func TestBusyServerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		p.send(&nackproto.Close{Code: nackproto.CloseBusy, Retry: 40 * time.Second})
		p.wantEnd("CLOSE is not answered")
		start := time.Now()
		p = n.next()
		if d := time.Since(start); d < 40*time.Second || d > 42*time.Second {
			t.Errorf("the client came back after %v, want 40 s", d)
		}
		p.net.Close()
	})
}

// Backoff grows up to its most as long as no server takes the client.
func TestBackoffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{FirstBackoff: time.Second, MaxBackoff: 8 * time.Second})
		defer c.Close()
		p.net.Close()
		for i := range 40 {
			start := time.Now()
			p = n.next()
			if d, most := time.Since(start), min(time.Second<<min(i, 10), 8*time.Second); d > most {
				t.Errorf("attempt %d after %v, want at most %v", i, d, most)
			}
			p.net.Close()
		}
	})
}

// A server that takes a client and drops it at once is not run against.
func TestBackoffGrowsAlsoBehindWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{FirstBackoff: time.Second, MaxBackoff: 30 * time.Second})
		defer c.Close()
		start := time.Now()
		for range 30 {
			p.net.Close()
			p = n.next()
			p.welcome()
		}
		if d := time.Since(start); d < 2*time.Minute {
			t.Errorf("30 connections within %v", d)
		}
		time.Sleep(15 * time.Second)
		start = time.Now()
		p.net.Close()
		p = n.next()
		if d := time.Since(start); d > time.Second {
			t.Errorf("after a connection that lasted, the next attempt came after %v", d)
		}
		p.net.Close()
	})
}

func TestUnwantedClientEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		s := subscribe(t, c, p)
		p.send(&nackproto.Close{Code: nackproto.CloseUnauthorized, Reason: "expired"})
		wantEvent(t, s, `down UNAUTHORIZED after=0s final "expired"`)
		_, err := s.Next(t.Context())
		var se *ServerError
		if !errors.Is(err, ErrClosed) || !errors.As(err, &se) || se.Code != nackproto.CloseUnauthorized {
			t.Errorf("got %v, want ErrClosed and the server's reason", err)
		}
		<-c.Done()
		c.Close()
		p.net.Close()
	})
}

func TestDialFailsWhenNobodyTakesTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		n.down["nack://one"] = true
		go func() {
			p := n.next()
			p.want("HELLO", `HELLO versions=1..1 incarnation=0000000000000011 name="" token=0 bytes`)
			p.send(&nackproto.Close{Code: nackproto.CloseBusy})
			p.wantEnd("CLOSE is not answered")
		}()
		_, err := Dial(t.Context(), Config{Servers: []string{"nack://one", "nack://two"}, Incarnation: 0x11, dial: n.dial})
		if err == nil || !strings.Contains(err.Error(), "unreachable") || !strings.Contains(err.Error(), "BUSY") {
			t.Errorf("got %v, want what each server said", err)
		}
	})
}

func TestDialIsBoundByItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		defer func() { n.next().net.Close() }()
		_, err := Dial(ctx, Config{Servers: []string{"nack://one"}, dial: n.dial})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's end", err)
		}
	})
}

func TestSubscribeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		go func() {
			p.want("Subscribe asks", `SUBSCRIBE sub=1 filter="/secret" start=last`)
			p.send(&nackproto.Subscribed{Sub: 1, Code: nackproto.SubscribeDenied})
		}()
		_, err := c.Subscribe(t.Context(), "/secret", nackproto.Start{Kind: nackproto.StartLast})
		var se *SubscribeError
		if !errors.As(err, &se) || se.Code != nackproto.SubscribeDenied {
			t.Errorf("got %v, want a SubscribeError", err)
		}
		if _, err := c.Subscribe(t.Context(), "/#/a", nackproto.Start{}); !errors.Is(err, stream.ErrFilter) {
			t.Errorf("a bad filter: %v", err)
		}
	})
}

// What the application has not taken is not in the positions: not a message, and
// not a loss.
func TestPositionsAreTheApplications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		s := subscribe(t, c, p)
		p.send(message(42), message(43), &nackproto.Reset{Alias: 7, Reason: nackproto.Slow, Epoch: testEpoch, First: 60, Last: 70, Next: 70}, message(70))
		synctest.Wait()
		wantStored := func(want string) {
			t.Helper()
			b, err := c.Positions()
			if err != nil {
				t.Fatal(err)
			}
			c2, p2 := func() (*Client, *scripted) {
				n2 := newNetwork(t)
				return n2.dialClient(Config{Positions: b})
			}()
			go c2.Subscribe(t.Context(), "/a", nackproto.Start{})
			p2.want("the stored positions", `SUBSCRIBE sub=1 filter="/a" start=index:00000000000000c1:100 "/a"@0000000000000001:`+want)
			go p2.frame(time.Minute)
			c2.Close()
			p2.net.Close()
		}
		wantStored("41")
		wantEvent(t, s, live("42"))
		wantStored("42")
		wantEvent(t, s, live("43"))
		wantStored("43")
		wantEvent(t, s, "lost /a SLOW before=0000000000000001:43 next=0000000000000001:70 first=60 last=70")
		wantStored("69")
		if d, err := s.NextMessage(t.Context()); err != nil || d.Message.Position.Seq != 70 {
			t.Errorf("got %v, %v", d, err)
		}
		wantStored("70")
		go p.frame(time.Minute)
		c.Close()
		p.net.Close()
	})
}

func TestSubscriptionClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{Buffer: 2})
		defer c.Close()
		s := subscribe(t, c, p)
		// It is full, and the client stalled, when it is closed.
		p.send(message(42), message(43), message(44), message(45))
		synctest.Wait()
		go p.want("the server is told", "UNSUBSCRIBE sub=1")
		s.Close()
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrSubscriptionClosed) {
			t.Errorf("after Close: %v", err)
		}
		synctest.Wait()
		p.send(message(46), &nackproto.Heartbeat{Index: 1})
		p.wantIdle("what was on its way is dropped", time.Minute)
	})
}

func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{})
		defer c.Close()
		got := 0
		for range 3 {
			if err := c.PublishAsync(t.Context(), stream.Publication{Subject: "/a"}, func(stream.Position, error) { got++ }); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			for range 3 {
				p.frame(time.Minute)
			}
			time.Sleep(time.Second)
			p.send(&nackproto.Confirm{Number: 1, Runs: []nackproto.Run{{Code: nackproto.Placed, Count: 3}}})
		}()
		if err := c.Flush(t.Context()); err != nil || got != 3 {
			t.Errorf("Flush: %v with %d answers, want all three", err, got)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no server":       {},
		"no scheme":       {Servers: []string{"localhost:6225"}},
		"other scheme":    {Servers: []string{"mqtt://localhost"}},
		"token in URL":    {Servers: []string{"nack://me@localhost"}},
		"path":            {Servers: []string{"nack://localhost/x"}},
		"token in clear":  {Servers: []string{"nack://example.org"}, Token: "t"},
		"negative buffer": {Servers: []string{"nack://localhost"}, Buffer: -1},
		"long name":       {Servers: []string{"nack://localhost"}, Name: strings.Repeat("n", 256)},
		"positions":       {Servers: []string{"nack://localhost"}, Positions: []byte("x")},
	} {
		if cl, err := Dial(t.Context(), c); err == nil {
			cl.Close()
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "failed to") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that is ahead of every server is told so once all have said it, and
// goes on trying.
func TestBehindIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c, p := n.dialClient(Config{Servers: []string{"nack://one", "nack://two"}})
		defer c.Close()
		s, err := c.Follow("/a", nackproto.Start{Marks: []nackproto.Mark{{Subject: "/a", Position: stream.Position{Epoch: testEpoch, Seq: 99}}}})
		if err != nil {
			t.Fatal(err)
		}
		up := `up node="n" cluster=00000000000000c1`
		for round := 1; round <= 2; round++ {
			for range 2 {
				p.want("Follow asks", `SUBSCRIBE sub=1 filter="/a" start=live "/a"@0000000000000001:99`)
				p.send(&nackproto.Close{Code: nackproto.CloseBehind, Reason: "only up to 5"})
				p.wantEnd("CLOSE is not answered")
				wantEvent(t, s, up)
				wantEvent(t, s, `down BEHIND after=1s "only up to 5"`)
				p = n.next()
				p.welcome()
			}
			wantEvent(t, s, fmt.Sprintf(`behind rounds=%d "only up to 5"`, round))
		}
		wantEvent(t, s, up)
		p.want("Follow asks", `SUBSCRIBE sub=1 filter="/a" start=live "/a"@0000000000000001:99`)
		p.send(&nackproto.Subscribed{Sub: 1, Index: 100})
		wantEvent(t, s, "activated sub=1 index=100")
		p.net.Close()
		if e, err := s.Next(t.Context()); err != nil || e.(*nackproto.Down).Err == nil {
			t.Errorf("%v, %v, want a Down that says how the transport ended", e, err)
		}
	})
}
