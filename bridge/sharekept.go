package bridge

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A group that has a member whose session is kept outlives its members'
// connections: it has a record in the log like a session's, under a name that no
// client can have. It is made from it when the first member comes, saved now and
// then, and written down when the last one goes. What came meanwhile its members
// get from the log.

const groupPrefix = "\x00share\x00"

// A group's state in the log: version u8, closed u8, cursor uvarint, since uvarint,
// and what waits: count uvarint, count × index uvarint. closed is 1 if its last
// member had gone when it was written.
const groupVersion = 1

func (g *group) state(cursor stream.Index, closed bool) []byte {
	b := []byte{groupVersion, 0}
	if closed {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(cursor))
	b = binary.AppendUvarint(b, uint64(g.since))
	b = binary.AppendUvarint(b, uint64(len(g.waiting)))
	for _, i := range g.waiting {
		b = binary.AppendUvarint(b, uint64(i))
	}
	return b
}

// groupState is one that was read.
type groupState struct {
	closed        bool
	cursor, since stream.Index
	waiting       []stream.Index
}

func readGroup(b []byte) (st groupState, err error) {
	if len(b) < 2 || b[0] != groupVersion {
		return st, fmt.Errorf("%w: it is of another version", errState)
	}
	r := stateReader{b: b[2:]}
	st.closed = b[1] == 1
	st.cursor, st.since = r.index(), r.index()
	for n := r.count(); n > 0 && r.err == nil; n-- {
		st.waiting = append(st.waiting, r.index())
	}
	return st, r.err
}

// at gives the index up to which the group was served.
func (g *group) at(l *loop) stream.Index {
	if g.late {
		return g.cursor
	}
	return l.cursor
}

// joined sees to the record of a group that has a further member; nil is none.
// Until it is known where the group stands its members get nothing.
func (l *loop) joined(g *group) {
	if g == nil || g.fence != 0 || g.attaching {
		return
	}
	id := groupPrefix + g.key
	rec, recorded := l.b.cfg.Broker.Session(id)
	if !recorded && !slices.ContainsFunc(g.members, func(m *subscription) bool { return m.session.kept }) {
		return
	}
	if !g.late {
		g.late, g.cursor = true, l.cursor
	}
	g.attaching, g.ready = true, false
	a := stream.Attachment{ID: id, Holder: l.b.cfg.Node, Expiry: l.b.capExpiry(stream.ForEver), Clean: recorded && !l.hadMembers(g, &rec)}
	l.say(stream.AttachSession(&a), func(at stream.Place, err error) { l.groupAttached(g, at, err) })
}

// hadMembers reports whether a session is kept that was a member of the group when
// the record was written. If none is, what came since is for nobody.
func (l *loop) hadMembers(g *group, rec *stream.Session) bool {
	st, err := readGroup(rec.State)
	since, kept := l.keptMembers()[g.name()]
	return err == nil && kept && (!st.closed || since <= st.cursor)
}

// name gives the shared filter as clients write it.
func (g *group) name() string { return sharePrefix + g.key }

// keptMembers gives the shared filters that kept sessions have, with where the
// oldest of each begins. It looks through all sessions, once a turn at most.
func (l *loop) keptMembers() map[string]stream.Index {
	if l.shared != nil {
		return l.shared
	}
	l.shared = map[string]stream.Index{}
	for next, more := uint32(0), true; more; {
		next, more = l.b.cfg.Broker.Sessions(next, func(s stream.Session) bool {
			i, _ := slices.BinarySearchFunc(s.Filters, sharePrefix, func(f stream.SessionFilter, n string) int { return strings.Compare(f.Name, n) })
			for ; i < len(s.Filters) && strings.HasPrefix(s.Filters[i].Name, sharePrefix); i++ {
				f := &s.Filters[i]
				if since, known := l.shared[f.Name]; !known || f.Since < since {
					l.shared[f.Name] = f.Since
				}
			}
			return true
		})
	}
	return l.shared
}

func (l *loop) groupAttached(g *group, at stream.Place, err error) {
	gone := l.index.groups[g.key] != g
	if broker.ResultOf(err).MayRepeat() && !gone && !l.closing {
		l.later(func() {
			if g.attaching = false; l.index.groups[g.key] == g {
				l.joined(g)
			}
		})
		return
	}
	g.attaching = false
	var was []byte
	if rec, ok := l.b.cfg.Broker.Session(groupPrefix + g.key); err == nil && ok && rec.Fence == at.Fence {
		g.fence = at.Fence
		if at.Outcome == stream.Resumed {
			was = rec.State
		}
	} else if err != nil {
		l.b.cfg.Log.Warn().Err(err).Str("group", g.key).Msg("a shared subscription is not kept")
	}
	if gone && g.fence != 0 {
		if was == nil {
			was = g.state(g.at(l), true)
		}
		l.closeGroup(g, was)
		return
	}
	if was != nil {
		l.restoreGroup(g, was)
	}
	if g.fence != 0 {
		l.saveGroup(g) // a record without a state would be one that begins anew
	}
	l.wakeGroup(g)
}

// restoreGroup lets g go on from where it stood.
func (l *loop) restoreGroup(g *group, state []byte) {
	st, err := readGroup(state)
	if err != nil {
		l.b.cfg.Log.Error().Err(err).Str("group", g.key).Msg("a shared subscription begins anew")
		return
	}
	g.cursor, g.since = min(g.cursor, st.cursor), min(g.since, st.since)
	for _, i := range st.waiting {
		l.keep(g, i)
	}
	if tail := l.b.cfg.Broker.Tail(); g.cursor < tail {
		l.loseGroup(g, tail)
	}
}

// leaveGroup writes a group down whose last member is gone, or forgets it if no
// session is kept that has it.
func (l *loop) leaveGroup(g *group) {
	if g.fence != 0 {
		l.closeGroup(g, g.state(g.at(l), true))
	}
}

func (l *loop) closeGroup(g *group, state []byte) {
	l.leaving++
	left := func() { l.leaving-- }
	if _, kept := l.keptMembers()[g.name()]; !kept {
		l.insist(stream.EndSession(groupPrefix+g.key), left)
		return
	}
	l.insist(stream.DetachSession(groupPrefix+g.key, g.fence, l.b.capExpiry(stream.ForEver), true, state), left)
}

// saveGroups saves the groups that are in the log.
func (l *loop) saveGroups() {
	for _, g := range l.index.groups {
		if g.fence != 0 {
			l.saveGroup(g)
		}
	}
}

// saveGroup saves a group. One that cannot be saved now is saved the next time.
func (l *loop) saveGroup(g *group) {
	l.say(stream.SaveSession(groupPrefix+g.key, g.fence, g.state(g.at(l), false)), func(stream.Place, error) {})
}
