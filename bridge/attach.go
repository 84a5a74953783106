package bridge

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// attach gives c its session, a kept one or a new one, and answers its CONNECT.
// Nothing is sent to c before that answer. A code other than success refuses.
func (l *loop) attach(c *client, clean bool, connack func(present bool) []byte) packets.Code {
	id := c.who.ClientID
	s := l.sessions[id]
	if s != nil && clean {
		l.end(s)
		s = nil
	}
	present := s != nil
	if s == nil {
		if len(l.sessions) >= l.b.cfg.MaxSessions {
			return packets.ErrQuotaExceeded
		}
		s = newSession(id)
		l.sessions[id] = s
		s.cursor = l.cursor
	}
	s.client, c.session = c, s
	s.out.limit = c.window
	s.online = l.b.cfg.Broker.Head()
	s.ends, s.will = time.Time{}, nil // MQTT 5, 3.1.3-9: the session goes on, its will does not
	l.deadline.clear(s)
	s.in.begin()

	c.mu.Lock()
	c.greeted = c.version
	c.mu.Unlock()
	c.post(connack(present))
	l.touch(c)
	l.b.meters.sessions.Inc()

	for _, sub := range s.subs {
		l.index.add(sub)
	}
	if present {
		s.out.rewind()
		s.resuming = true
		if tail := l.b.cfg.Broker.Tail(); s.cursor < tail {
			l.lose(s, s.cursor+1, tail)
			s.cursor = tail
		}
	}
	s.late, s.ready = true, false
	l.wakeUp(s)
	return packets.CodeSuccess
}

// detach takes the connection from its session, which goes offline or ends.
func (l *loop) detach(c *client) {
	s := c.session
	if s.client != c {
		return
	}
	l.acknowledge(s, false)
	for _, sub := range s.subs {
		l.index.remove(sub)
	}
	if !s.late {
		s.cursor = l.cursor
	}
	s.late, s.ready, s.client = true, false, nil
	l.resumed(s, l.b.meters.resumesContinuous)
	l.b.meters.sessions.Dec()

	if w := c.will; w != nil {
		if delay := min(w.delay, c.expiry); delay > 0 {
			s.will, s.willAt = w, time.Now().Add(time.Duration(delay)*time.Second)
		} else {
			l.publishWill(w)
		}
	}
	if c.expiry == 0 {
		l.end(s)
		return
	}
	s.expiry = c.expiry
	s.ends = time.Now().Add(time.Duration(c.expiry) * time.Second)
	l.deadline.set(s)
}

// end forgets an offline session. Its will does not wait any longer (MQTT 5,
// 3.1.3.2.2), and what it left unacknowledged of shared subscriptions goes to
// others.
func (l *loop) end(s *session) {
	l.deadline.clear(s)
	if s.will != nil {
		l.publishWill(s.will)
		s.will = nil
	}
	delete(l.sessions, s.id)
	for i := s.out.head; i != s.out.tail; i++ {
		e := s.out.at(i)
		if e.state == sentPublish && e.group != nil && len(e.group.members) > 0 {
			e.group.keep(e.index)
			l.serveWaiting(e.group)
		}
	}
}

// untilDue gives the time until runDue has something to do.
func (l *loop) untilDue() time.Duration {
	d := time.Hour
	if len(l.deadline) > 0 {
		d = min(d, time.Until(l.deadline[0].due))
	}
	if len(l.wills) > 0 {
		d = min(d, time.Until(l.wills[0].at))
	}
	return max(d, 0)
}

// runDue ends the sessions and publishes the wills whose time has come.
func (l *loop) runDue(now time.Time) {
	for len(l.deadline) > 0 && !l.deadline[0].due.After(now) {
		s := l.deadline[0]
		if s.will != nil && !s.willAt.After(now) {
			l.publishWill(s.will)
			s.will = nil
		}
		if !s.ends.After(now) {
			l.end(s)
			continue
		}
		l.deadline.set(s)
	}
	l.retryWills(now)
}

// begin makes in ready for a new connection: what waits for its commit there has
// its PUBREC's place nowhere until the client sends it again.
func (in *inbound) begin() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, r := range in.ids {
		r.conn = nil
	}
	in.open = 0
}
