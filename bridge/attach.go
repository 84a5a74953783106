package bridge

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A session that outlives its connection, or has a will, is in the log. Its CONNECT
// is answered when the attachment is committed, and its connection's end is written
// down before the client id is free again. Nobody else is in the log.

// attach gives c its session, a kept one or a new one, and has its CONNECT answered
// by c.begin. Nothing is sent to c before that answer.
func (l *loop) attach(c *client, clean bool) {
	id := c.who.ClientID
	if s := l.sessions[id]; s != nil { // it is leaving
		s.waiting = append(s.waiting, func() { l.attach(c, clean) })
		return
	}
	fleeting := c.expiry == 0 && c.will == nil
	if _, kept := l.b.cfg.Broker.Session(id); fleeting && !kept {
		l.begin(c, newSession(id), false)
		return
	}
	if l.early != nil {
		l.early = append(l.early, func() { l.attach(c, clean) })
		return
	}
	if fleeting && clean {
		l.say(stream.EndSession(id), func(_ stream.Place, err error) {
			if err != nil {
				c.attached <- refusal(err)
				return
			}
			l.begin(c, newSession(id), false)
		})
		return
	}
	a := stream.Attachment{ID: id, Holder: l.b.cfg.Node, Clean: clean, Expiry: c.expiry}
	if c.will != nil {
		a.Will, a.Origin, a.Delay = &c.will.publication, c.origin, c.will.delay
	}
	l.say(stream.AttachSession(&a), func(at stream.Place, err error) { l.attachedAt(c, at, err) })
}

// say hands in what happens to a session; done is called by the loop.
func (l *loop) say(op stream.SessionOp, done func(stream.Place, error)) {
	l.b.cfg.Publisher.Publish(stream.Item{Op: op}, func(at stream.Place, err error) {
		l.in.call(func() { done(at, err) })
	})
}

// attachedAt makes the session of a client whose attachment was committed.
func (l *loop) attachedAt(c *client, at stream.Place, err error) {
	if err != nil {
		c.attached <- refusal(err)
		return
	}
	id := c.who.ClientID
	s := newSession(id)
	s.fence = at.Fence
	rec, ok := l.b.cfg.Broker.Session(id)
	if !ok || rec.Fence != at.Fence {
		c.attached <- packets.ErrSessionTakenOver
		return
	}
	if err := s.restore(&rec, l.b.cfg.Broker.Head()); err != nil {
		l.b.cfg.Log.Error().Err(err).Str("client", id).Msg("a kept session cannot be served: connect once with a clean session")
		c.attached <- packets.ErrUnspecifiedError
		l.leave(s, stream.DetachSession(id, s.fence, c.expiry, true, rec.State))
		return
	}
	l.begin(c, s, at.Outcome == stream.Resumed)
}

// refusal gives the reason with which a CONNECT, or what a client asks of its
// session, is refused.
func refusal(err error) packets.Code {
	switch broker.ResultOf(err) {
	case broker.NoQuorum:
		return packets.ErrServerUnavailable
	case broker.Busy:
		return packets.ErrServerBusy
	case broker.Refused, broker.TooLarge:
		return packets.ErrQuotaExceeded
	case broker.Fenced:
		return packets.ErrSessionTakenOver
	case broker.Stopped:
		return packets.ErrServerShuttingDown
	}
	return packets.ErrUnspecifiedError
}

// begin makes s the session of c and answers its CONNECT.
func (l *loop) begin(c *client, s *session, present bool) {
	s.client, c.session = c, s
	s.kept = s.fence != 0 && c.expiry > 0
	l.sessions[s.id] = s
	if s.out.limit = c.window; s.fence != 0 {
		s.out.limit = min(c.window, maxKept)
	}
	s.online = l.b.cfg.Broker.Head()
	if !present {
		s.cursor = l.cursor
	}
	c.mu.Lock()
	c.greeted = c.version
	c.mu.Unlock()
	c.post(c.connack(present))
	l.touch(c)
	l.b.meters.sessions.Inc()
	l.sys.connected++
	l.sys.most = max(l.sys.most, l.sys.connected)

	for _, sub := range s.subs {
		l.index.add(sub)
		l.joined(l.index.groupOf(sub))
	}
	if present {
		s.out.rewind()
		s.resuming = true
		l.skip(s, l.b.cfg.Broker.Tail())
	}
	s.late, s.ready = true, false
	l.wakeUp(s)
	c.attached <- packets.CodeSuccess
}

// detach takes the connection from its session, which goes offline or ends.
func (l *loop) detach(c *client) {
	s := c.session
	if s.client != c {
		return
	}
	l.acknowledge(s, false)
	cursor := s.at(l)
	s.late, s.ready, s.cursor = true, false, cursor // its groups do not give it anything more
	l.giveBack(s)
	for _, sub := range s.subs {
		l.remove(sub)
	}
	l.resumed(s, l.b.meters.resumesContinuous)
	s.client = nil
	l.b.meters.sessions.Dec()
	l.sys.connected--
	if s.fence == 0 {
		delete(l.sessions, s.id)
		return
	}
	state := s.state(nil, cursor, l.b.cfg.Broker.Head(), true)
	l.leave(s, stream.DetachSession(s.id, s.fence, c.expiry, c.will == nil, state))
}

// remove takes a subscription out of the index.
func (l *loop) remove(sub *subscription) {
	if g := l.index.remove(sub); g != nil {
		l.leaveGroup(g)
	}
}

// leave has the end of a connection written down; then the client id is free. A will
// hangs on it.
func (l *loop) leave(s *session, end stream.SessionOp) {
	l.insist(end, func() {
		waiting := s.waiting
		s.waiting = nil
		delete(l.sessions, s.id)
		for _, f := range waiting {
			f()
		}
	})
}

// insist hands op in again for as long as it may get in; then done is called.
func (l *loop) insist(op stream.SessionOp, done func()) {
	l.say(op, func(_ stream.Place, err error) {
		if broker.ResultOf(err).MayRepeat() && !l.closing {
			l.later(func() { l.insist(op, done) })
			return
		}
		done()
	})
}

// A retry is what could not be written down and will be tried again.
type retry struct {
	at time.Time
	f  func()
}

const retryEvery = time.Second

// later has the loop call f in a while.
func (l *loop) later(f func()) { l.again = append(l.again, retry{time.Now().Add(retryEvery), f}) }

// open has it written down that nobody is connected to this member: what it held
// when it ended is offline. Clients that come earlier wait for it.
func (l *loop) open() {
	l.insist(stream.SessionsGone(l.b.cfg.Node), func() {
		early := l.early
		l.early = nil
		for _, f := range early {
			f()
		}
	})
}

// untilDue gives the time until runDue has something to do.
func (l *loop) untilDue() time.Duration {
	d := min(time.Until(l.nextSave), time.Until(l.sys.next))
	if len(l.again) > 0 {
		d = min(d, time.Until(l.again[0].at))
	}
	return max(d, 0)
}

// runDue tries again what is due, and saves the sessions now and then.
func (l *loop) runDue(now time.Time) {
	for len(l.again) > 0 && !l.again[0].at.After(now) {
		f := l.again[0].f
		l.again = l.again[1:]
		f()
	}
	if !l.sys.next.After(now) {
		l.takeSys(now)
	}
	if !l.nextSave.After(now) {
		l.nextSave = now.Add(saveEvery)
		l.saveAll()
	}
}
