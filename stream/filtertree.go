package stream

import "strings"

// A FilterTree keeps a value for each of a set of filters, and finds the filters
// that match a subject. The zero tree is empty and ready to use. Who calls it
// serializes; Exact, Find and Match change nothing.
//
// Filters without a wildcard stand in a map. The others are a tree with a node
// for each beginning of a filter. Most nodes lead on by one segment, which stands
// in the node; those that lead on by several have a map.
//
// A peer chooses filters and subjects, so this bounds what they cost. A filter
// takes a node of 40 bytes, a place in a map and a text for each of its segments
// at most. Match reads no more segments of the subject than the longest filter
// has, looks at no node twice, and at each node compares or hashes one segment.
// Nothing recurses.
type FilterTree[V any] struct {
	exact  map[Filter]uint32 // slots of values
	values pages[V]          // slot 0 is none
	nodes  pages[filterNode] // slot 0 is none, slot 1 the root
	wild   int               // filters in nodes
}

// A filterNode stands for a beginning of filters, a number of whole segments.
type filterNode struct {
	segment  string            // if only one leads on, and is no wildcard
	child    uint32            // where it leads
	plus     uint32            // where "+" leads
	here     uint32            // the value of the filter that ends here
	hash     uint32            // the value of the filter that ends here with "#"
	children map[string]uint32 // where segments lead if there are several
}

const filterRoot = 1

// Len gives the number of filters.
func (t *FilterTree[V]) Len() int { return len(t.exact) + t.wild }

// Place gives the value of f, which is zero if f was not in the tree. The pointer
// is good until f is removed.
func (t *FilterTree[V]) Place(f Filter) *V {
	if t.values.next == 0 {
		t.values.take()
		t.nodes.take()
		t.nodes.take()
		t.exact = map[Filter]uint32{}
	}
	if f.IsExact() {
		i := t.exact[f]
		if i == 0 {
			i = t.values.take()
			t.exact[f] = i
		}
		return t.values.edit(i)
	}
	node, rest := uint32(filterRoot), string(f[1:])
	for more := true; more && rest != "#"; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		next := t.nodes.at(node).next(segment)
		if next == 0 {
			next = t.nodes.take()
			t.nodes.edit(node).join(segment, next)
		}
		node = next
	}
	i := t.nodes.edit(node).end(f)
	if *i == 0 {
		*i = t.values.take()
		t.wild++
	}
	return t.values.edit(*i)
}

// Exact gives the value of the filter that is s itself, nil if there is none.
func (t *FilterTree[V]) Exact(s Subject) *V { return t.value(t.exact[Filter(s)]) }

// Find gives the value of f, nil if f is not in the tree.
func (t *FilterTree[V]) Find(f Filter) *V {
	if f.IsExact() {
		return t.Exact(Subject(f))
	}
	var buf [16]uint32
	way := t.way(f, buf[:0])
	if way == nil {
		return nil
	}
	return t.value(*t.nodes.at(way[len(way)-1]).end(f))
}

// Remove takes f and its value out of the tree.
func (t *FilterTree[V]) Remove(f Filter) {
	if f.IsExact() {
		if i := t.exact[f]; i != 0 {
			delete(t.exact, f)
			t.values.give(i)
		}
		return
	}
	var buf [16]uint32
	way := t.way(f, buf[:0])
	if way == nil {
		return
	}
	i := t.nodes.edit(way[len(way)-1]).end(f)
	if *i == 0 {
		return
	}
	t.values.give(*i)
	*i = 0
	t.wild--
	// The nodes that only f needed go, from the end.
	name := strings.TrimSuffix(string(f), "/#")
	for k := len(way) - 1; k > 0 && t.nodes.at(way[k]).isEmpty(); k-- {
		cut := strings.LastIndexByte(name, '/')
		t.nodes.edit(way[k-1]).part(name[cut+1:])
		t.nodes.give(way[k])
		name = name[:cut]
	}
}

// Match calls yield with the value of each filter that matches s, in no order
// that one may count on. yield leaves the tree as it is.
func (t *FilterTree[V]) Match(s Subject, yield func(*V)) {
	if i := t.exact[Filter(s)]; i != 0 {
		yield(t.values.edit(i))
	}
	if t.wild == 0 {
		return
	}
	// at are the nodes that what was read of s leads to, next those that one more
	// segment leads to.
	var bufs [2][16]uint32
	at, next := append(bufs[0][:0], filterRoot), bufs[1][:0]
	rest := string(s[1:])
	dollar := strings.HasPrefix(rest, "$") // wildcards do not match the first segment: see Filter.Match
	for more := true; more && len(at) > 0; dollar = false {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		next = next[:0]
		for _, i := range at {
			n := t.nodes.at(i)
			if to := n.named(segment); to != 0 {
				next = append(next, to)
			}
			if dollar {
				continue
			}
			if n.plus != 0 {
				next = append(next, n.plus)
			}
			if n.hash != 0 {
				yield(t.values.edit(n.hash))
			}
		}
		at, next = next, at
	}
	for _, i := range at {
		n := t.nodes.at(i)
		if n.here != 0 {
			yield(t.values.edit(n.here))
		}
		if n.hash != 0 {
			yield(t.values.edit(n.hash)) // "/a/#" matches "/a"
		}
	}
}

// value gives the value in a slot, nil for slot 0.
func (t *FilterTree[V]) value(i uint32) *V {
	if i == 0 {
		return nil
	}
	return t.values.edit(i)
}

// way appends the nodes on the way of f, the root first. It gives nil if the
// tree does not lead that far.
func (t *FilterTree[V]) way(f Filter, way []uint32) []uint32 {
	if t.wild == 0 {
		return nil
	}
	way = append(way, filterRoot)
	rest := string(f[1:])
	for more := true; more && rest != "#"; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		next := t.nodes.at(way[len(way)-1]).next(segment)
		if next == 0 {
			return nil
		}
		way = append(way, next)
	}
	return way
}

// end gives where the value of f stands in its last node.
func (n *filterNode) end(f Filter) *uint32 {
	if f[len(f)-1] == '#' {
		return &n.hash
	}
	return &n.here
}

// next gives the node that a segment of a filter leads to, 0 if there is none.
func (n *filterNode) next(segment string) uint32 {
	if segment == "+" {
		return n.plus
	}
	return n.named(segment)
}

// named gives the node that a segment leads to which is no wildcard.
func (n *filterNode) named(segment string) uint32 {
	if n.children != nil {
		return n.children[segment]
	}
	if n.segment == segment {
		return n.child // 0 if there is none, also for the empty segment
	}
	return 0
}

// join has a segment that leads nowhere lead to a node. A text of its own keeps
// it from holding on to the whole filter.
func (n *filterNode) join(segment string, to uint32) {
	switch {
	case segment == "+":
		n.plus = to
	case n.children != nil:
		n.children[strings.Clone(segment)] = to
	case n.child != 0:
		n.children = map[string]uint32{n.segment: n.child, strings.Clone(segment): to}
		n.segment, n.child = "", 0
	default:
		n.segment, n.child = strings.Clone(segment), to
	}
}

// part has a segment lead nowhere.
func (n *filterNode) part(segment string) {
	switch {
	case segment == "+":
		n.plus = 0
	case n.children == nil:
		n.segment, n.child = "", 0
	default:
		delete(n.children, segment)
		if len(n.children) == 1 {
			for n.segment, n.child = range n.children {
			}
			n.children = nil
		}
	}
}

func (n *filterNode) isEmpty() bool {
	return n.child == 0 && n.children == nil && n.plus == 0 && n.here == 0 && n.hash == 0
}
