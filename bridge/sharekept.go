package bridge

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A group that has a member whose session is kept outlives its members'
// connections: it has a record in the log like a session's, under a name that no
// client can have. It is made from it when the first member comes, saved now and
// then, and written down when the last one goes. What came meanwhile its members
// get from the log.

const groupPrefix = "\x00share\x00"

// A group's state in the log: version u8, cursor uvarint, since uvarint, and what
// waits: count uvarint, count × index uvarint.
const groupVersion = 1

func (g *group) state(cursor stream.Index) []byte {
	b := binary.AppendUvarint([]byte{groupVersion}, uint64(cursor))
	b = binary.AppendUvarint(b, uint64(g.since))
	b = binary.AppendUvarint(b, uint64(len(g.waiting)))
	for _, i := range g.waiting {
		b = binary.AppendUvarint(b, uint64(i))
	}
	return b
}

func readGroup(b []byte) (cursor, since stream.Index, waiting []stream.Index, err error) {
	num := func() stream.Index {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errState, nil
			return 0
		}
		b = b[n:]
		return stream.Index(v)
	}
	if len(b) == 0 || b[0] != groupVersion {
		return 0, 0, nil, fmt.Errorf("%w: it is of another version", errState)
	}
	b = b[1:]
	cursor, since = num(), num()
	for n := num(); n > 0 && err == nil; n-- {
		waiting = append(waiting, num())
	}
	return cursor, since, waiting, err
}

// at gives the index up to which the group was served.
func (g *group) at(l *loop) stream.Index {
	if g.late {
		return g.cursor
	}
	return l.cursor
}

// joined sees to the record of the group that sub has become a member of. Until it
// is known where the group stands its members get nothing.
func (l *loop) joined(sub *subscription) {
	g := l.index.groups[sub.group+string(sub.filter)]
	if sub.group == "" || g.fence != 0 || g.attaching {
		return
	}
	id := groupPrefix + g.key
	rec, recorded := l.b.cfg.Broker.Session(id)
	if s := sub.session; !recorded && (s.fence == 0 || s.client.expiry == 0) {
		return
	}
	if !g.late {
		g.late, g.cursor = true, l.cursor
	}
	g.attaching, g.ready = true, false
	a := stream.Attachment{ID: id, Holder: l.b.cfg.Node, Expiry: l.b.capExpiry(stream.ForEver), Clean: recorded && !l.hasMembers(g, sub.name, &rec)}
	l.say(stream.AttachSession(&a), func(at stream.Place, err error) { l.groupAttached(g, sub, at, err) })
}

// hasMembers reports whether a session is kept that was a member of the group when
// the record was written. If none is, what came since is for nobody.
func (l *loop) hasMembers(g *group, name string, rec *stream.Session) (has bool) {
	cursor, _, _, err := readGroup(rec.State)
	if err != nil {
		return false
	}
	for next, more := uint32(0), true; more && !has; {
		next, more = l.b.cfg.Broker.Sessions(next, func(s stream.Session) bool {
			i, found := slices.BinarySearchFunc(s.Filters, name, func(f stream.SessionFilter, n string) int { return strings.Compare(f.Name, n) })
			has = has || found && s.Filters[i].Since <= cursor
			return !has
		})
	}
	return has
}

func (l *loop) groupAttached(g *group, sub *subscription, at stream.Place, err error) {
	g.attaching = false
	gone := l.index.groups[g.key] != g
	switch {
	case broker.ResultOf(err).MayRepeat() && !gone:
		l.again = append(l.again, retry{time.Now().Add(retryEvery), func() {
			if l.index.groups[g.key] == g {
				l.joined(sub)
			}
		}})
		return
	case err != nil:
		l.b.cfg.Log.Warn().Err(err).Str("group", g.key).Msg("a shared subscription is not kept")
	default:
		g.fence = at.Fence
		if rec, ok := l.b.cfg.Broker.Session(groupPrefix + g.key); ok && at.Outcome == stream.Resumed && rec.Fence == at.Fence {
			l.restoreGroup(g, rec.State)
		}
		l.saveGroup(g) // a record without a state would be one that begins anew
	}
	if gone {
		l.leaveGroup(g)
		return
	}
	l.wakeGroup(g)
}

// restoreGroup lets g go on from where it stood.
func (l *loop) restoreGroup(g *group, state []byte) {
	cursor, since, waiting, err := readGroup(state)
	if err != nil {
		l.b.cfg.Log.Error().Err(err).Str("group", g.key).Msg("a shared subscription begins anew")
		return
	}
	g.cursor, g.since = min(g.cursor, cursor), min(g.since, since)
	for _, i := range waiting {
		l.keep(g, i)
	}
	if tail := l.b.cfg.Broker.Tail(); g.cursor < tail {
		l.loseGroup(g, tail)
	}
}

// leaveGroup writes a group down whose last member is gone.
func (l *loop) leaveGroup(g *group) {
	if g.fence == 0 {
		return
	}
	end := stream.DetachSession(groupPrefix+g.key, g.fence, l.b.capExpiry(stream.ForEver), true, g.state(g.at(l)))
	l.leaving++
	l.tryLeave(end)
}

func (l *loop) tryLeave(end stream.SessionOp) {
	l.say(end, func(_ stream.Place, err error) {
		if broker.ResultOf(err).MayRepeat() && !l.closing {
			l.again = append(l.again, retry{time.Now().Add(retryEvery), func() { l.tryLeave(end) }})
			return
		}
		l.leaving--
	})
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
	l.say(stream.SaveSession(groupPrefix+g.key, g.fence, g.state(g.at(l))), func(stream.Place, error) {})
}
