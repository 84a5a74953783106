package bridge

import (
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// What a connected session was served is in memory, and written down now and then:
// after a crash it goes on from what was written, and messages of QoS 1 come a
// second time. A session that disconnects is written down whole.
//
// QoS 2 must not repeat. Its messages have the packet ids that they had (see
// window), so the client tells one that comes again, for as long as it holds the
// id: until PUBREL. So a PUBREC is written down before its PUBREL is sent. What
// came before it in the window goes along, and nothing else needs to be exact.

// saveEvery is how often connected sessions are written down. At one message a
// second for each session, a save is a hundredth of the log.
const saveEvery = time.Minute

// saveAll saves the sessions that have changed, and those whose saved cursor would
// soon be older than the cache.
func (l *loop) saveAll() {
	old := (l.b.cfg.Broker.Tail() + l.b.cfg.Broker.Head()) / 2
	for _, s := range l.sessions {
		if s.fence != 0 && s.client != nil && !s.saving && (s.changed || s.saved < old) {
			l.save(s)
		}
	}
	l.saveGroups()
}

// saveUrgent saves the sessions whose clients wait for a PUBREL.
func (l *loop) saveUrgent() {
	for i, s := range l.urgent {
		if s.client != nil && s.urgent && !s.saving {
			l.save(s)
		}
		l.urgent[i] = nil
	}
	l.urgent = l.urgent[:0]
}

// save writes the session down. One save of a session is under way at a time.
func (l *loop) save(s *session) {
	s.saving, s.changed, s.urgent = true, false, false
	s.saved = s.at(l)
	var received []stream.Index // PUBRECs that this save writes down
	for i := s.out.head; i != s.out.tail; i++ {
		if e := s.out.at(i); e.state == sentReceived {
			received = append(received, e.index)
		}
	}
	held := s.out.held // ids that the log forgets with this save
	s.out.held = nil
	s.out.holding = held
	state := s.state(nil, s.saved, l.b.cfg.Broker.Head(), false)
	l.say(stream.SaveSession(s.id, s.fence, state), func(_ stream.Place, err error) {
		c := s.client
		if s.saving = false; c == nil {
			return // it was written down when it left
		}
		s.out.holding = nil
		if err != nil {
			if len(received) > 0 || errors.Is(err, broker.ErrFenced) {
				c.shut(c.disconnectPacket(refusal(err)), err)
			}
			s.changed = true
			for id := range held {
				s.out.hold(id)
			}
			if s.urgent {
				l.later(func() {
					if s.client != nil && s.urgent && !s.saving {
						l.save(s)
					}
				})
			}
			return
		}
		for _, index := range received {
			// Another message may have the packet id by now.
			if i, ok := s.out.find(idOf(index)); ok && s.out.at(i).index == index && s.out.at(i).state == sentReceived {
				l.release(s, i)
			}
		}
		l.wakeUp(s)
		if s.urgent {
			l.save(s)
		}
	})
}

// release answers a PUBREC, which was written down, with PUBREL.
func (l *loop) release(s *session, i uint32) {
	e := s.out.at(i)
	e.state = sentReleased
	var b [5]byte
	s.client.post(appendAck(b[:0], packets.Pubrel, e.id, 0))
	l.touch(s.client)
}
