package session

import (
	"strings"

	"github.com/nackmq/nackmq/stream"
)

// A wild is one session's subscription with a wildcard filter. It has no pointer
// and is in two lists: those of its filter, newest first, and its session's.
type wild struct {
	session uint32 // slot
	filter  uint32 // index into Core.filters
	next    uint32 // of the same filter
	prev    uint32 // of the same filter
	more    uint32 // of the same session
	sub     uint64 // the client's number
	joined  uint64 // Core.wildCount when it came
	gone    bool   // unsubscribed while the session scans: it only says up to where the session was served
	// Up to done it needs nothing more: it was not there yet, or was served. Only
	// a scanning session looks at it.
	done stream.Index
}

// A filter is a wildcard filter that at least one session has.
type filter struct {
	text  stream.Filter
	first uint32 // the newest subscription
	count uint32
}

// A filterNode is a segment in the tree of wildcard filters.
type filterNode struct {
	children map[string]*filterNode
	plus     *filterNode
	hash     uint32 // filter that ends with "#" here
	here     uint32 // filter that ends here
}

func (n *filterNode) empty() bool {
	return len(n.children) == 0 && n.plus == nil && n.hash == 0 && n.here == 0
}

// addWild subscribes slot to a wildcard filter.
func (c *Core) addWild(slot uint32, text stream.Filter, sub uint64) uint32 {
	fi := c.filterIDs[text]
	if fi == 0 {
		fi = c.filters.take()
		c.filters.at(fi).text = text
		c.filterIDs[text] = fi
		*c.tree.place(text) = fi
	}
	c.wildCount++
	i := c.wilds.take()
	r, f := c.slab.at(slot), c.filters.at(fi)
	*c.wilds.at(i) = wild{session: slot, filter: fi, next: f.first, more: r.wilds, sub: sub, joined: c.wildCount, done: c.head}
	if f.first != 0 {
		c.wilds.at(f.first).prev = i
	}
	f.first = i
	f.count++
	r.wilds = i
	return i
}

// dropWilds takes away those of slot's wildcard subscriptions for which drop is
// true, and says how many.
func (c *Core) dropWilds(slot uint32, drop func(*wild) bool) (n int) {
	for at := &c.slab.at(slot).wilds; *at != 0; {
		i := *at
		if p := c.wilds.at(i); !drop(p) {
			at = &p.more
			continue
		}
		w := *c.wilds.at(i)
		*at = w.more
		n++
		f := c.filters.at(w.filter)
		if w.prev != 0 {
			c.wilds.at(w.prev).next = w.next
		} else {
			f.first = w.next
		}
		if w.next != 0 {
			c.wilds.at(w.next).prev = w.prev
		}
		c.wilds.give(i)
		if f.count--; f.count == 0 {
			delete(c.filterIDs, f.text)
			c.tree.remove(string(f.text[1:]))
			c.filters.give(w.filter)
		}
	}
	return n
}

// settleLate has an exact subscription decide where its stream stands, when the
// wildcard subscriptions that were there before it have all ended.
func (c *Core) settleLate(slot uint32, f *follow) {
	if f.sub&late == 0 {
		return
	}
	name := c.subjects.at(f.subject).name
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		if c.filters.at(c.wilds.at(i).filter).text.Match(name) {
			return
		}
	}
	f.sub &^= late
}

// matchesWild reports whether a wildcard subscription of slot matches name.
func (c *Core) matchesWild(slot uint32, name stream.Subject) bool {
	for i := c.slab.at(slot).wilds; i != 0; i = c.wilds.at(i).more {
		if w := c.wilds.at(i); !w.gone && c.filters.at(w.filter).text.Match(name) {
			return true
		}
	}
	return false
}

// askWildcards has those sessions follow a subject whose wildcard subscription
// matches it and came after the subject was last asked about.
func (c *Core) askWildcards(e *bound, name stream.Subject, id stream.SubjectID) {
	c.matched = c.tree.match(name, c.matched[:0])
	for _, fi := range c.matched {
		for i := c.filters.at(fi).first; i != 0; {
			w := c.wilds.at(i)
			if w.joined <= e.since {
				break
			}
			i = w.next
			if w.gone {
				continue
			}
			if e.subject == 0 {
				e.subject = c.newSubject(name)
				s := c.subjects.at(e.subject)
				s.id, s.epoch, s.bound = id, e.epoch, true
			}
			if c.slab.at(w.session).count > 0 && c.findFollow(w.session, e.subject) != 0 {
				continue
			}
			c.addWildFollow(w.session, e.subject)
		}
	}
	e.since = c.wildCount
	if si := e.subject; si != 0 {
		c.dropSubject(si) // if all were over their limit
	}
}

// place gives the place in the tree where the number of a filter stands.
func (n *filterNode) place(f stream.Filter) *uint32 {
	for seg := range strings.SplitSeq(string(f[1:]), "/") {
		switch seg {
		case "#":
			return &n.hash
		case "+":
			if n.plus == nil {
				n.plus = &filterNode{}
			}
			n = n.plus
		default:
			if n.children == nil {
				n.children = map[string]*filterNode{}
			}
			child := n.children[seg]
			if child == nil {
				child = &filterNode{}
				n.children[strings.Clone(seg)] = child
			}
			n = child
		}
	}
	return &n.here
}

// remove takes a filter out of the tree, and the nodes that only it needed.
func (n *filterNode) remove(rest string) {
	seg, rest, more := strings.Cut(rest, "/")
	switch {
	case seg == "#":
		n.hash = 0
	case seg == "+":
		if n.plus.step(rest, more); n.plus.empty() {
			n.plus = nil
		}
	default:
		child := n.children[seg]
		if child.step(rest, more); child.empty() {
			delete(n.children, seg)
		}
	}
}

func (n *filterNode) step(rest string, more bool) {
	if more {
		n.remove(rest)
		return
	}
	n.here = 0
}

// match appends the filters that match s.
func (n *filterNode) match(s stream.Subject, out []uint32) []uint32 {
	name := string(s[1:])
	if len(name) > 0 && name[0] == '$' {
		// A wildcard in the first segment does not match.
		seg, rest, more := strings.Cut(name, "/")
		if child := n.children[seg]; child != nil {
			out = child.follow(rest, more, out)
		}
		return out
	}
	return n.walk(name, out)
}

func (n *filterNode) walk(rest string, out []uint32) []uint32 {
	if n.hash != 0 {
		out = append(out, n.hash)
	}
	seg, rest, more := strings.Cut(rest, "/")
	if child := n.children[seg]; child != nil {
		out = child.follow(rest, more, out)
	}
	if n.plus != nil {
		out = n.plus.follow(rest, more, out)
	}
	return out
}

func (n *filterNode) follow(rest string, more bool, out []uint32) []uint32 {
	if more {
		return n.walk(rest, out)
	}
	if n.hash != 0 {
		out = append(out, n.hash) // "/a/#" matches "/a"
	}
	if n.here != 0 {
		out = append(out, n.here)
	}
	return out
}
