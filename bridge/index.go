package bridge

import (
	"slices"
	"strings"

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
}

// A matchSet is who gets the messages of one subject. It is immutable.
type matchSet struct {
	targets []target
	groups  []*group

	subject stream.SubjectID
	epoch   stream.Epoch
	wild    uint64 // the index's generation of wildcard filters
	exact   *node  // the subject's own node, and its generation
	gen     uint64
}

// An index finds the subscriptions of connected sessions for a subject. It
// belongs to the loop.
//
// Filters without wildcards stand in a map and filters with wildcards in a tree
// of segments. A subject's answer is kept as long as neither the set of wildcard
// filters nor the subject's own filters changed, so a storm of connecting
// clients with a subject each does not make the other subjects be matched anew.
type index struct {
	exact  map[stream.Filter]*node
	root   node
	wild   uint64
	groups map[string]*group // by "GROUP/filter"
	cache  []*matchSet       // by SubjectID, direct mapped
	held   int               // targets in cache
}

// A node is a segment in the tree, or the filters of one subject.
type node struct {
	gen    uint64
	subs   []*subscription
	groups []*group
	next   map[string]*node
}

// Limits of the cache of matches, whose targets are what takes memory.
const (
	matchCacheSlots   = 1 << 14
	matchCacheTargets = 1 << 20
)

func newIndex() *index {
	return &index{
		exact:  map[stream.Filter]*node{},
		groups: map[string]*group{},
		cache:  make([]*matchSet, matchCacheSlots),
	}
}

// add puts s in.
func (x *index) add(s *subscription) {
	x.change(s, true, func(n *node) {
		if s.group == "" {
			n.subs = append(n.subs, s)
			return
		}
		key := s.group + string(s.filter)
		g := x.groups[key]
		if g == nil {
			g = &group{key: key, since: s.since}
			x.groups[key] = g
		}
		if len(g.members) == 0 {
			n.groups = append(n.groups, g)
		}
		g.add(s)
	})
}

// remove takes s out.
func (x *index) remove(s *subscription) {
	x.change(s, false, func(n *node) {
		if s.group == "" {
			n.subs = slices.DeleteFunc(n.subs, func(o *subscription) bool { return o == s })
			return
		}
		key := s.group + string(s.filter)
		g := x.groups[key]
		if g == nil {
			return
		}
		if g.remove(s); len(g.members) == 0 {
			delete(x.groups, key)
			n.groups = slices.DeleteFunc(n.groups, func(o *group) bool { return o == g })
		}
	})
}

// change finds the node of s, lets do change it, and drops it if it is empty.
func (x *index) change(s *subscription, create bool, do func(*node)) {
	if s.filter.IsExact() {
		n := x.exact[s.filter]
		if n == nil {
			if !create {
				return
			}
			n = &node{}
			x.exact[s.filter] = n
		}
		n.gen++
		if do(n); len(n.subs)+len(n.groups) == 0 {
			delete(x.exact, s.filter)
		}
		return
	}
	x.wild++
	x.root.descend(strings.Split(string(s.filter[1:]), "/"), create, do)
}

// descend reports whether n is empty afterwards.
func (n *node) descend(segments []string, create bool, do func(*node)) (empty bool) {
	if len(segments) == 0 {
		do(n)
	} else if child := n.next[segments[0]]; child != nil || create {
		if child == nil {
			child = &node{}
			if n.next == nil {
				n.next = map[string]*node{}
			}
			n.next[segments[0]] = child
		}
		if child.descend(segments[1:], create, do) {
			delete(n.next, segments[0])
		}
	}
	return len(n.subs)+len(n.groups)+len(n.next) == 0
}

// match gives who gets m.
func (x *index) match(m *stream.Message) *matchSet {
	slot := &x.cache[uint32(m.ID)&(matchCacheSlots-1)]
	exact := x.exact[stream.Filter(m.Subject)]
	if s := *slot; s != nil && s.subject == m.ID && s.epoch == m.Position.Epoch && s.wild == x.wild &&
		s.exact == exact && (exact == nil || s.gen == exact.gen) {
		return s
	}
	s := &matchSet{subject: m.ID, epoch: m.Position.Epoch, wild: x.wild, exact: exact}
	b := matchBuilder{set: s}
	if exact != nil {
		s.gen = exact.gen
		b.take(exact)
	}
	if len(x.root.next) > 0 {
		name := string(m.Subject[1:])
		b.walk(&x.root, name, strings.HasPrefix(name, "$"))
	}
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

// walk follows rest through the tree; it is what is left of the subject after
// n's segment. Wildcards in the first segment do not match "$" (MQTT 5, 4.7.2-1).
func (b *matchBuilder) walk(n *node, rest string, dollar bool) {
	segment, tail, more := strings.Cut(rest, "/")
	if hash := n.next["#"]; hash != nil && !dollar {
		b.take(hash)
	}
	b.step(n.next[segment], tail, more)
	if plus := n.next["+"]; plus != nil && !dollar {
		b.step(plus, tail, more)
	}
}

func (b *matchBuilder) step(n *node, tail string, more bool) {
	switch {
	case n == nil:
	case more:
		b.walk(n, tail, false)
	default:
		b.take(n)
		if hash := n.next["#"]; hash != nil { // "a/#" matches "a"
			b.take(hash)
		}
	}
}

func (b *matchBuilder) take(n *node) {
	b.set.groups = append(b.set.groups, n.groups...)
	for _, s := range n.subs {
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
