package nackproto

import (
	"fmt"
	"slices"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// A subState is where a subscription stands on a connection. PROTOCOL.md §4.
type subState uint8

const (
	subIdle   subState = iota // not asked for on this connection
	subAsked                  // SUBSCRIBE is on its way
	subActive                 // SUBSCRIBED came
)

// askPause is how long a client waits before it asks again for a subscription
// that the server was too busy for. PROTOCOL.md §5.5.
const askPause = time.Second

// A subscription is a filter that the user wants followed.
type subscription struct {
	id     uint64
	filter stream.Filter
	start  Start // where the user wants it to begin
	state  subState
	told   bool      // Activated was told
	askAt  time.Time // when to ask again; zero: need not
	// settled says that all that start asks for has come, and what came since up
	// to index (of cluster): from here on the subscription goes on there.
	settled bool
	cluster stream.ClusterID
	index   stream.Index
}

// Subscribe asks for all subjects that filter matches, from start on, now and on
// every connection to come. A filter that the stored positions know goes on
// where they say. It gives the subscription's number.
func (s *ClientSession) Subscribe(filter stream.Filter, start Start) uint64 {
	s.lastSub++
	sub := &subscription{id: s.lastSub, filter: filter, start: start}
	if at, ok := s.stored.take(filter); ok {
		sub.settled, sub.cluster, sub.index = true, at.cluster, at.index
	}
	for _, m := range append(s.stored.takeMarks(filter), start.Marks...) {
		s.subjects.remember(m)
	}
	sub.start.Marks = nil
	s.subs = append(s.subs, sub)
	if s.state == StateUp {
		s.ask(sub)
	}
	return sub.id
}

// Unsubscribe ends a subscription. What is known of its subjects is forgotten,
// unless another subscription matches them. PROTOCOL.md §6.2.
func (s *ClientSession) Unsubscribe(id uint64) {
	sub := s.remove(id)
	if sub == nil {
		return
	}
	if sub.state != subIdle {
		s.out = append(s.out, &Unsubscribe{id})
	}
	s.forgetUnmatched()
}

func (s *ClientSession) remove(id uint64) *subscription {
	i := slices.IndexFunc(s.subs, func(sub *subscription) bool { return sub.id == id })
	if i < 0 {
		return nil
	}
	sub := s.subs[i]
	s.subs = slices.Delete(s.subs, i, i+1)
	return sub
}

// forgetUnmatched drops the subjects that no subscription matches, and finds
// out anew which match the others.
func (s *ClientSession) forgetUnmatched() {
	s.subjects.keep(func(t *tracked) bool {
		t.subs = s.activeFor(t.name)
		return len(t.subs) > 0 || slices.ContainsFunc(s.subs, func(sub *subscription) bool { return sub.filter.Match(t.name) })
	})
}

// activeFor gives the active subscriptions that match a subject.
func (s *ClientSession) activeFor(name stream.Subject) []uint64 {
	var ids []uint64
	for _, sub := range s.subs {
		if sub.state == subActive && sub.filter.Match(name) {
			ids = append(ids, sub.id)
		}
	}
	return ids
}

// askAgain asks for all subscriptions on a new connection. A subject's mark goes
// with the first that can carry it. PROTOCOL.md §6.6.
func (s *ClientSession) askAgain() {
	for _, sub := range s.subs {
		s.ask(sub)
	}
}

func (s *ClientSession) ask(sub *subscription) {
	sub.state, sub.askAt = subAsked, time.Time{}
	f := &Subscribe{Sub: sub.id, Filter: string(sub.filter), Start: sub.start}
	if sub.settled {
		f.Start = Start{Kind: StartIndex, Cluster: sub.cluster, Index: sub.index}
	}
	room := s.welcome.MaxFrame / 4
	for _, t := range s.subjects.all {
		if t.awaited != 0 || len(t.subs) > 0 || !sub.filter.Match(t.name) {
			continue
		}
		m := Mark{t.name, t.tracker.Last()}
		if room -= m.EncodedLen(); room < 0 {
			break
		}
		s.subjects.await(t, sub.id)
		f.Start.Marks = append(f.Start.Marks, m)
	}
	s.out = append(s.out, f)
}

func (s *ClientSession) askDue(now time.Time) {
	for _, sub := range s.subs {
		if !sub.askAt.IsZero() && !now.Before(sub.askAt) {
			s.ask(sub)
		}
	}
}

func (s *ClientSession) disconnectSubs() {
	for _, sub := range s.subs {
		sub.state, sub.askAt = subIdle, time.Time{}
	}
	for _, t := range s.subjects.all {
		t.subs = nil
	}
}

func (s *ClientSession) handleSubscribed(now time.Time, f *Subscribed) error {
	i := slices.IndexFunc(s.subs, func(sub *subscription) bool { return sub.id == f.Sub })
	if i < 0 {
		if f.Sub == 0 || f.Sub > s.lastSub {
			return &DecodeError{Type: TypeSubscribed, Code: CloseProtocol, Reason: fmt.Sprintf("subscription %d was not asked for", f.Sub)}
		}
		return nil // unsubscribed in the meantime
	}
	sub := s.subs[i]
	switch {
	case f.Code == SubscribeOK:
		if sub.state != subAsked {
			return &DecodeError{Type: TypeSubscribed, Code: CloseProtocol, Reason: fmt.Sprintf("subscription %d was not asked for", f.Sub)}
		}
		sub.state = subActive
		if sub.start.Kind == StartLive || sub.start.Kind == StartIndex {
			sub.settled = true
		}
		if sub.cluster != s.welcome.Cluster || f.Index > sub.index {
			sub.cluster, sub.index = s.welcome.Cluster, f.Index
		}
		for _, t := range s.subjects.all {
			if sub.filter.Match(t.name) {
				t.subs = s.activeFor(t.name)
			}
		}
		if !sub.told {
			sub.told = true
			s.tell(&Activated{sub.id, f.Index})
		}
	case f.Code.MayRepeat():
		s.subjects.refused(sub.id)
		sub.state, sub.askAt = subIdle, now.Add(askPause)
	default:
		s.subjects.refused(sub.id)
		s.remove(sub.id)
		s.forgetUnmatched()
		s.tell(&Ended{Sub: sub.id, Code: f.Code})
	}
	return nil
}
