package bridge

import (
	"errors"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// catchUp serves the late sessions that are ready: what has to be sent again,
// retained messages, then the log after their cursors. It chooses by cost: the
// messages of few subjects are read from the subjects' own chains, else the log
// is read, and one read serves all sessions that want that stretch of it. It
// reports whether there is more to do.
func (l *loop) catchUp() (more bool) {
	l.ready = slices.DeleteFunc(l.ready, func(s *session) bool {
		s.listed = l.prepare(s)
		return !s.listed
	})
	l.lateGroups = slices.DeleteFunc(l.lateGroups, func(g *group) bool {
		g.listed = l.prepareGroup(g)
		return !g.listed
	})
	if len(l.ready)+len(l.lateGroups) == 0 {
		return false
	}
	from := l.nextStretch()
	if from >= l.cursor { // they wait for what the loop itself has not read
		return l.b.cfg.Broker.Head() > l.cursor
	}
	// A short stretch first: sessions with small windows are full after it.
	if l.stretch = min(2*l.stretch, lateBatch); l.stretch < lateLeast {
		l.stretch = lateLeast
	}
	msgs, err := l.b.cfg.Broker.ReadLog(from, l.lateBuf[:0:l.stretch])
	if errors.Is(err, broker.ErrLapped) {
		tail := l.b.cfg.Broker.Tail()
		for _, s := range l.ready {
			l.skip(s, tail)
		}
		for _, g := range l.lateGroups {
			if g.cursor < tail {
				l.loseGroup(g, tail)
			}
		}
		return true
	}
	end := from
	for i := range msgs {
		m := &msgs[i]
		if m.Index > l.cursor {
			break
		}
		end = m.Index
		if set := l.index.match(m); len(set.targets)+len(set.groups) > 0 {
			l.handLate(m, set, from)
		}
	}
	clear(msgs)
	going := false
	for _, s := range l.ready {
		if s.ready && s.cursor >= from {
			s.cursor = max(s.cursor, min(end, s.until()))
			going = going || s.cursor == end
		}
	}
	for _, g := range l.lateGroups {
		if g.ready && g.cursor >= from {
			g.cursor = max(g.cursor, end)
			going = going || g.cursor == end
		}
	}
	if l.sweep = end; !going {
		l.stretch = 0
	}
	return true
}

// nextStretch gives the cursor from which the log is read next. Every other time
// it is the lowest one; the time between it is the next one on a sweep from low
// to high. With the lowest alone, sessions that keep coming would keep those
// before them from going on; with the sweep alone, one whose window is small
// would wait for a whole sweep after each window.
func (l *loop) nextStretch() stream.Index {
	lowest, next := l.cursor, l.cursor
	look := func(cursor stream.Index) {
		lowest = min(lowest, cursor)
		if cursor >= l.sweep {
			next = min(next, cursor)
		}
	}
	for _, s := range l.ready {
		look(s.cursor)
	}
	for _, g := range l.lateGroups {
		look(g.cursor)
	}
	if l.sweeping = !l.sweeping; l.sweeping && next < l.cursor {
		return next
	}
	return lowest
}

// prepare does what comes before reading the log, and reports whether the
// session is still late and ready.
func (l *loop) prepare(s *session) bool {
	if s.client == nil || !s.late || !s.ready {
		s.ready = false
		return false
	}
	if s.ready = l.sendAgain(s) && l.runJobs(s) && l.readChains(s); !s.ready {
		return false
	}
	if s.cursor >= max(l.cursor, s.online) && len(s.jobs) == 0 {
		s.late, s.ready = false, false
		l.resumed(s, l.b.meters.resumesContinuous)
		for _, g := range s.groups {
			l.wakeGroup(g)
		}
		return false
	}
	return true
}

// handLate gives a message of the stretch after from to the late sessions and
// groups that want it. One whose cursor is before the stretch is not there yet.
func (l *loop) handLate(of *stream.Message, set *matchSet, from stream.Index) {
	m := &l.msg
	fresh := false
	for _, g := range set.groups {
		if !g.ready || !g.late || g.cursor < from || g.cursor >= of.Index {
			continue
		}
		if !fresh {
			m.reset(*of, l.now)
			fresh = true
		}
		if !m.expired && !l.shareNow(g, m) {
			g.ready, g.cursor = false, of.Index-1
		}
	}
	for i := range set.targets {
		t := &set.targets[i]
		s := t.session
		if !s.ready || s.cursor < from || s.cursor >= of.Index || s.until() < of.Index || !s.replays(t, of) {
			continue
		}
		if !fresh {
			m.reset(*of, l.now)
			fresh = true
		}
		if !l.offerLate(t, m) {
			s.ready, s.cursor = false, of.Index-1
		}
	}
}

// offerLate is offer for a message whose life may be over.
func (l *loop) offerLate(t *target, m *message) bool {
	if !m.expired {
		return l.offer(t, m)
	}
	l.over(t.session, m, min(t.qos, m.Flags.QoS()))
	return true
}

// replays reports whether m is for the session though it is late: QoS 0 is not
// replayed to one that was offline.
func (s *session) replays(t *target, m *stream.Message) bool {
	return m.Index > s.online || min(t.qos, m.Flags.QoS()) > 0
}

// sendAgain sends what the session was sent on an earlier connection and did not
// acknowledge, in its order (MQTT 5, 4.4.0-1). It reports false when there is no
// room now.
func (l *loop) sendAgain(s *session) bool {
	for s.out.behind() {
		e, ok := s.out.again()
		if !ok {
			if !s.out.behind() {
				break
			}
			if !l.acknowledge(s, true) {
				return false
			}
			continue
		}
		if e.state == sentReleased {
			var b [5]byte
			s.client.post(appendAck(b[:0], packets.Pubrel, e.id, 0))
			l.touch(s.client)
			s.out.sentAgain()
			continue
		}
		f, told, ok := l.frameAgain(s, e)
		if !ok && e.qos == 2 {
			e.state = sentReleased // the client may hold the packet id
			continue
		}
		if !ok {
			s.out.done(s.out.unsent)
			continue
		}
		if !l.put(s, f, e.id, told) {
			return false
		}
		s.out.sentAgain()
	}
	return true
}

// frameAgain gives the frame of a delivery that was sent before; !ok if there is
// nothing to send any more.
func (l *loop) frameAgain(s *session, e *sent) (f *frame, told, ok bool) {
	rare := e.of()
	var m stream.Message
	if rare.subject != "" {
		// Another retained message came since, and comes by itself.
		if m, ok = l.b.cfg.Broker.Retained(rare.subject); !ok || m.Index != e.index {
			return nil, false, false
		}
	} else if m, ok = l.at(e.index); !ok {
		l.lose(s, e.index, e.index)
		return nil, false, false
	}
	l.msg.reset(m, l.now)
	f, told = l.frameFor(s, &l.msg, e.qos, e.retain, own{dup: true, ids: rare.ids, where: e.where})
	return f, told, f != nil
}
