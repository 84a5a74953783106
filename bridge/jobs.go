package bridge

import (
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A job is a subscription's right to messages that are older than it: retained
// ones, or those after a place in the log. It is done when the session was served
// up to index at, so what is newer comes behind it, as ordinary messages.
type job struct {
	name  string // of the subscription
	at    stream.Index
	again bool // it reads the log again; else it sends retained messages

	// Of one that reads the log.
	after stream.Index    // read up to here
	pos   stream.Position // of the message at after, if the filter is its subject; else zero

	// Of one that sends retained messages.
	next stream.SubjectID
	last bool             // next is the end
	page []stream.Subject // found, not yet sent
}

// maxPages is how many pages of subjects, or of the log, a turn looks through for
// all sessions, so that one which asks for much does not keep the others waiting.
const maxPages = 16

// againBatch is a page of the log.
const againBatch = 256

// runJobs does the session's jobs as long as there is room; false: there is none.
// What it does not get done in this turn stays in s.jobs.
func (l *loop) runJobs(s *session) bool {
	for len(s.jobs) > 0 && s.cursor >= s.jobs[0].at {
		j := s.jobs[0]
		step := l.retainedStep
		if j.again {
			step = l.againStep
		}
		sub := s.subs[j.name]
		over := sub == nil
		if !over {
			var room bool
			if over, room = step(s, sub, j); !room {
				return false
			}
		}
		if over {
			s.jobs = s.jobs[1:]
			s.changed = true
			continue
		}
		if l.pages++; l.pages > maxPages {
			return true
		}
	}
	if len(s.jobs) == 0 {
		s.jobs = nil
	}
	return true
}

// until gives the index up to which the session may read: that of its next job,
// which comes before what is newer.
func (s *session) until() stream.Index {
	if len(s.jobs) > 0 {
		return s.jobs[0].at
	}
	return ^stream.Index(0)
}

// retainedStep sends a page of retained messages, then looks for the next one.
func (l *loop) retainedStep(s *session, sub *subscription, j *job) (over, room bool) {
	for len(j.page) > 0 {
		if !l.sendRetained(s, sub, j.at, j.page[0]) {
			return false, false
		}
		j.page = j.page[1:]
	}
	if j.last {
		return true, true
	}
	j.page = nil
	next, more := l.b.cfg.Broker.Subjects(sub.filter, j.next, func(name stream.Subject, t stream.Top) bool {
		if t.Retained {
			j.page = append(j.page, name)
		}
		return true
	})
	j.next, j.last = next, !more
	return false, true
}

// againStep reads a page of the log, or of the filter's only subject, and sends
// what the filter matches. What left the cache meanwhile is lost, and told.
func (l *loop) againStep(s *session, sub *subscription, j *job) (over, room bool) {
	if j.after >= j.at {
		return true, true
	}
	s.changed = true
	b := l.b.cfg.Broker
	if cap(l.lateBuf) < againBatch {
		l.lateBuf = make([]stream.Message, 0, lateBatch)
	}
	buf := l.lateBuf[:0:againBatch]
	exact := sub.filter.IsExact()
	var msgs []stream.Message
	var err error
	chain := !j.pos.IsZero()
	if chain {
		msgs, err = b.ReadSubject(stream.Subject(sub.filter), j.pos, j.after, buf)
		chain = err == nil // else the log says what there is
	}
	if !chain {
		msgs, err = b.ReadLog(j.after, buf)
	}
	defer func() { clear(msgs) }()
	if errors.Is(err, broker.ErrLapped) {
		tail := min(b.Tail(), j.at)
		l.lose(s, j.after+1, tail)
		j.after, j.pos = tail, stream.Position{}
		return false, true
	}
	for i := range msgs {
		m := &msgs[i]
		if m.Index > j.at {
			return true, true
		}
		if sub.filter.Match(m.Subject) {
			if !l.sendOld(s, sub, m) {
				return false, false
			}
			if exact {
				j.pos = m.Position
			}
		} else if exact {
			continue // after stays at the message that pos is of
		}
		j.after = m.Index
	}
	switch {
	case len(msgs) < cap(buf):
		return true, true
	case !chain && j.pos.IsZero():
		j.after = msgs[len(msgs)-1].Index
	}
	return false, true
}

// sendOld sends a message of the log that an ordinary subscription would not bring.
// It reports false when there is no room now; one of QoS 0 waits, too.
func (l *loop) sendOld(s *session, sub *subscription, m *stream.Message) bool {
	if sub.noLocal && m.Publisher == s.origin {
		return true
	}
	d := sub.delivery(m)
	if l.msg.reset(*m, l.now); l.msg.expired {
		l.over(s, &l.msg, d.qos)
		return true
	}
	return l.send(s, &l.msg, d)
}

// over ends a delivery that a crash of the broker interrupted and whose message's
// life is over. A client that has it of QoS 2 holds its packet id until PUBREL, and
// would take another message with that id for the same one.
func (l *loop) over(s *session, m *message, qos byte) {
	if m.Index <= s.unsure && qos == 2 {
		s.client.post(appendAck(nil, packets.Pubrel, idOf(m.Index), 0))
		l.touch(s.client)
	}
}
