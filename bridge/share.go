package bridge

import (
	"cmp"
	"slices"

	"github.com/nackmq/nackmq/stream"
)

// A group is a shared subscription with its members that are connected to this
// node. Each message goes to one of them, chosen from the message's place, or to
// the next one that can take it: a slow member does not stall the group. When no
// member can take one the group is late: it has a cursor, as a session has, and
// goes on from the log when one can. It belongs to the loop.
type group struct {
	key     string
	since   stream.Index    // when its first member came: a message belongs to the group, not to a member
	members []*subscription // by client id
	waiting []stream.Index  // given back by members that are gone, rising; they come first

	fence     stream.Fence // of its record in the log; 0: it has none
	attaching bool         // it is not known yet where the group stands

	late   bool
	ready  bool         // a member may take more
	listed bool         // in the loop's list of those that are ready
	cursor stream.Index // while late
}

// What waits is bounded, for one group and for all.
const (
	maxGroupWaiting = 1 << 16
	maxWaiting      = 1 << 20
)

func (g *group) add(s *subscription) {
	i, _ := slices.BinarySearchFunc(g.members, s.session.id, func(m *subscription, id string) int {
		return cmp.Compare(m.session.id, id)
	})
	g.members = slices.Insert(g.members, i, s)
	s.session.groups = append(s.session.groups, g)
}

func (g *group) remove(s *subscription) {
	drop := func(o *group) bool { return o == g }
	g.members = slices.DeleteFunc(g.members, func(m *subscription) bool { return m == s })
	s.session.groups = slices.DeleteFunc(s.session.groups, drop)
}

// pick gives the number of the member whose turn message i is. Mixing the bits
// keeps it fair when subjects take turns in the log.
func (g *group) pick(i stream.Index) int {
	x := uint64(i) * 0x9e3779b97f4a7c15
	x ^= x >> 32
	return int(x * 0xd6e8feb86659fd93 >> 33 % uint64(len(g.members)))
}

// keep lets message i wait for a member of g. If that is too much, the oldest that
// waits for g is dropped, and counted.
func (l *loop) keep(g *group, i stream.Index) {
	at, found := slices.BinarySearch(g.waiting, i)
	if found {
		return
	}
	g.waiting = slices.Insert(g.waiting, at, i)
	if l.index.waiting++; len(g.waiting) > maxGroupWaiting || l.index.waiting > maxWaiting {
		g.waiting = g.waiting[1:]
		l.index.waiting--
		l.b.meters.droppedSlow.Inc()
	}
}

// share gives m to one member of g. If none can take it the group is late.
func (l *loop) share(g *group, m *message) {
	if !g.late && (len(g.waiting) > 0 || !l.shareNow(g, m)) {
		g.late, g.ready, g.cursor = true, false, m.Index-1
	}
}

func (l *loop) shareNow(g *group, m *message) bool {
	if m.Index <= g.since || len(g.members) == 0 {
		return true
	}
	first := g.pick(m.Index)
	for k := range g.members {
		sub := g.members[(first+k)%len(g.members)]
		if sub.session.late {
			continue
		}
		d := sub.delivery(&m.Message)
		d.group = g.key
		if l.send(sub.session, m, d) {
			return true
		}
	}
	return false
}

// wakeGroup is called when a member of g may take more.
func (l *loop) wakeGroup(g *group) {
	if g.attaching {
		return
	}
	if l.serveWaiting(g); len(g.waiting) > 0 || !g.late || g.ready {
		return
	}
	g.ready = true
	if !g.listed {
		g.listed = true
		l.lateGroups = append(l.lateGroups, g)
	}
}

// serveWaiting gives the messages that wait for g's members to those that can
// take them.
func (l *loop) serveWaiting(g *group) {
	for len(g.waiting) > 0 && len(g.members) > 0 {
		i := g.waiting[0]
		if m, ok := l.at(i); !ok {
			l.b.meters.droppedTrimmed.Inc()
		} else if l.msg.reset(m, l.now); !l.msg.expired && !l.shareNow(g, &l.msg) {
			return
		}
		g.waiting = g.waiting[1:]
		l.index.waiting--
	}
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
}

// prepareGroup reports whether the group is still late and ready.
func (l *loop) prepareGroup(g *group) bool {
	if g.late && g.cursor >= l.cursor {
		g.late = false
	}
	g.ready = g.ready && g.late && len(g.members) > 0
	return g.ready
}

// loseGroup notes that the group's members will not get the messages up to index
// to, which the cache no longer holds.
func (l *loop) loseGroup(g *group, to stream.Index) {
	l.b.meters.droppedTrimmed.Add(uint64(to - g.cursor))
	l.b.cfg.Log.Warn().Str("group", g.key).Uint64("first", uint64(g.cursor+1)).Uint64("last", uint64(to)).
		Msg("a shared subscription lost messages that the cache no longer holds")
	g.cursor = to
}

// giveBack lets others of its groups have what a session that loses its connection
// was sent of QoS 1 and has not acknowledged (MQTT 5, 4.8.2). QoS 2 stays with it.
func (l *loop) giveBack(s *session) {
	var ids []uint16
	for i := s.out.head; i != s.out.tail; i++ {
		if e := s.out.at(i); e.state == sentPublish && e.qos == 1 && e.rare != nil && e.rare.group != "" {
			ids = append(ids, e.id)
		}
	}
	for _, id := range ids {
		i, _ := s.out.find(id)
		e := s.out.at(i)
		g := l.index.groups[e.rare.group]
		if g == nil {
			continue // nobody else is here: it waits for its session
		}
		l.keep(g, e.index)
		s.out.done(i)
		l.wakeGroup(g)
	}
}
