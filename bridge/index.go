package bridge

import (
	"slices"

	"github.com/nackmq/nackmq/stream"
)

// A subscription is one filter of one session.
type subscription struct {
	session           *session
	name              string // as the client wrote it, $share/GROUP/ included
	group             string // of a shared subscription
	filter            stream.Filter
	since             stream.Index // it brings only what came after this index
	id                uint32       // MQTT 5's subscription identifier, 0: none
	qos               byte
	noLocal           bool
	retainAsPublished bool
	position          bool // its deliveries say where they are: see positionKey
}

// A target is a session that gets a message, with all its subscriptions that
// match, so that it gets the message once (MQTT 5, 3.3.4).
type target struct {
	session *session
	subs    []*subscription
	since   stream.Index // the newest of subs: behind it none must be left out
	noLocal bool         // of any of subs
	ids     []uint32     // of all subs, rising
	qos     byte         // the highest of subs
	retain  bool         // any of subs wants the retain bit as published
	where   bool         // any of subs wants the position
}

// A matchSet is who gets the messages of one subject. It is immutable.
type matchSet struct {
	targets []target
	groups  []*group

	subject stream.SubjectID
	epoch   stream.Epoch
	wild    uint64 // index.wild when it was made
	exact   uint64 // the change of the filter that is the subject itself; 0: there was none
}

// An index finds the subscriptions of connected sessions for a subject. It
// belongs to the loop.
//
// A subject's answer is kept as long as neither the set of wildcard filters nor
// the subject's own filter changed, so a storm of connecting clients with a
// subject each does not make the other subjects be matched anew.
type index struct {
	filters stream.FilterTree[subscribers]
	changes uint64            // counts the subscriptions that came and went
	wild    uint64            // the last change of a filter with a wildcard
	groups  map[string]*group // by "GROUP/filter"
	waiting int               // messages that wait in groups
	count   int               // subscriptions
	shared  int               // shared ones among them
	sys     int               // those of $SYS among them
	cache   []*matchSet       // by SubjectID, direct mapped
	held    int               // targets in cache
}

// subscribers are who has a filter.
type subscribers struct {
	change uint64 // the last one, of index.changes: no two filters have the same
	subs   []*subscription
	groups []*group
}

// Limits of the cache of matches, whose targets are what takes memory.
const (
	matchCacheSlots   = 1 << 14
	matchCacheTargets = 1 << 20
)

func newIndex() *index {
	return &index{
		groups: map[string]*group{},
		cache:  make([]*matchSet, matchCacheSlots),
	}
}

// add puts s in.
func (x *index) add(s *subscription) {
	of := x.filters.Place(s.filter)
	x.note(s, of)
	x.tally(s, 1)
	if s.group == "" {
		of.subs = append(of.subs, s)
		return
	}
	key := s.group + string(s.filter)
	g := x.groups[key]
	if g == nil {
		g = &group{key: key, since: s.since}
		x.groups[key] = g
	}
	if len(g.members) == 0 {
		of.groups = append(of.groups, g)
	}
	g.add(s)
}

// remove takes s out. It gives the group that has no member any more, if there is
// one.
func (x *index) remove(s *subscription) (left *group) {
	of := x.filters.Find(s.filter)
	if of == nil {
		return nil
	}
	x.note(s, of)
	x.tally(s, -1)
	if s.group == "" {
		of.subs = slices.DeleteFunc(of.subs, func(o *subscription) bool { return o == s })
	} else {
		key := s.group + string(s.filter)
		g := x.groups[key]
		if g == nil {
			return nil
		}
		if g.remove(s); len(g.members) == 0 {
			x.waiting -= len(g.waiting)
			delete(x.groups, key)
			left = g
			of.groups = slices.DeleteFunc(of.groups, func(o *group) bool { return o == g })
		}
	}
	if len(of.subs)+len(of.groups) == 0 {
		x.filters.Remove(s.filter)
	}
	return left
}

// replace puts s where old was: the same filter of the same session. A group does
// not see its member go.
func (x *index) replace(old, s *subscription) {
	of := x.filters.Find(s.filter)
	x.note(s, of)
	in := of.subs
	if s.group != "" {
		in = x.groups[s.group+string(s.filter)].members
	}
	in[slices.Index(in, old)] = s
}

func (x *index) tally(s *subscription, n int) {
	x.count += n
	if s.group != "" {
		x.shared += n
	}
	if ofSys(s.filter) {
		x.sys += n
	}
}

// groupOf gives the group of a shared subscription, nil for any other.
func (x *index) groupOf(s *subscription) *group {
	if s.group == "" {
		return nil
	}
	return x.groups[s.group+string(s.filter)]
}

// note counts a change of those who have the filter of s.
func (x *index) note(s *subscription, of *subscribers) {
	x.changes++
	of.change = x.changes
	if !s.filter.IsExact() {
		x.wild = x.changes
	}
}

// match gives who gets m.
func (x *index) match(m *stream.Message) *matchSet {
	slot := &x.cache[uint32(m.ID)&(matchCacheSlots-1)]
	exact := uint64(0)
	if own := x.filters.Exact(m.Subject); own != nil {
		exact = own.change
	}
	if s := *slot; s != nil && s.subject == m.ID && s.epoch == m.Position.Epoch && s.wild == x.wild && s.exact == exact {
		return s
	}
	s := &matchSet{subject: m.ID, epoch: m.Position.Epoch, wild: x.wild, exact: exact}
	b := matchBuilder{set: s}
	x.filters.Match(m.Subject, b.take)
	if *slot != nil {
		x.held -= len((*slot).targets)
	}
	if x.held += len(s.targets); x.held > matchCacheTargets {
		clear(x.cache)
		x.held = len(s.targets)
	}
	*slot = s
	return s
}

// matchBuilder gathers the subscriptions of a subject into targets.
type matchBuilder struct {
	set *matchSet
	at  map[*session]int // where a session's target is; made when there are many
}

func (b *matchBuilder) take(of *subscribers) {
	b.set.groups = append(b.set.groups, of.groups...)
	for _, s := range of.subs {
		t := b.target(s.session)
		t.subs = append(t.subs, s)
		t.merge(s)
	}
}

// target gives the session's target, which may be new.
func (b *matchBuilder) target(s *session) *target {
	ts := b.set.targets
	if b.at == nil && len(ts) < 8 {
		for i := range ts {
			if ts[i].session == s {
				return &ts[i]
			}
		}
	} else {
		if b.at == nil {
			b.at = make(map[*session]int, 2*len(ts))
			for i := range ts {
				b.at[ts[i].session] = i
			}
		}
		if i, ok := b.at[s]; ok {
			return &ts[i]
		}
		b.at[s] = len(ts)
	}
	b.set.targets = append(ts, target{session: s})
	return &b.set.targets[len(b.set.targets)-1]
}

func (t *target) merge(s *subscription) {
	t.since = max(t.since, s.since)
	t.qos = max(t.qos, s.qos)
	t.noLocal = t.noLocal || s.noLocal
	t.retain = t.retain || s.retainAsPublished
	t.where = t.where || s.position
	if s.id != 0 {
		i, _ := slices.BinarySearch(t.ids, s.id)
		t.ids = slices.Insert(t.ids, i, s.id)
	}
}

// forMessage gives t without the subscriptions that do not want m: begun after
// it, or no-local and m is the session's own. It gives nil if none is left.
// Nearly always it is t itself.
func (t *target) forMessage(m *stream.Message) *target {
	if m.Index > t.since && !(t.noLocal && m.Publisher == t.session.origin) {
		return t
	}
	var out *target
	for _, s := range t.subs {
		if m.Index > s.since && !(s.noLocal && m.Publisher == t.session.origin) {
			if out == nil {
				out = &target{session: t.session}
			}
			out.merge(s)
		}
	}
	return out
}
