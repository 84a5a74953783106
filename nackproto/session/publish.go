package session

import (
	"fmt"
	"strings"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// How long a publisher is asked to wait before it sends again.
const (
	retryNoQuorum = 500 * time.Millisecond
	retryBusy     = 100 * time.Millisecond
)

// A publisher is what a session has that publishes. Its window holds the
// publishes that were not answered, in the order in which they came, so that the
// answers leave in that order whatever order they come in. PROTOCOL.md §6.9.
type publisher struct {
	id      stream.PublisherID
	aliases []alias // by number, from 1
	window  []pending
	first   uint64                // tag of window[0]
	next    uint64                // the number that comes next; 0: any
	refused uint64                // the number that must come before others are taken; 0: none
	code    nackproto.PublishCode // why
	told    uint64                // the number that the client was last told to repeat; 0: it has come again
	toldWhy nackproto.PublishCode
	bytes   int // of the publishes that wait for their place
}

// An alias is a name that the client bound to a number, and what was found about
// it then.
type alias struct {
	subject stream.Subject
	code    nackproto.PublishCode
	bound   bool
}

// A pending publish waits for its place, or for its turn to be answered.
type pending struct {
	number uint64
	at     stream.Position
	size   int
	since  ticks
	code   nackproto.PublishCode
	done   bool
}

// publish handles PUBLISH.
func (c *Core) publish(slot uint32, f *nackproto.Publish) {
	cd := c.chill(slot)
	p := cd.pub
	if p == nil {
		c.close(slot, nackproto.CloseProtocol, "a PUBLISH after a HELLO without an incarnation")
		return
	}
	switch {
	case p.next == 0 || f.Number == p.next:
	case p.refused != 0 && f.Number == p.refused:
	default:
		c.close(slot, nackproto.CloseProtocol, fmt.Sprintf("publish %d where %d comes next", f.Number, p.next))
		return
	}
	subject, code, ok := c.subjectOf(slot, cd, f)
	if !ok {
		return
	}
	p.next = f.Number + 1
	if f.Number == p.refused {
		p.refused = 0
	}
	if len(f.Props) > 0 && code == nackproto.Placed {
		if _, err := stream.ParseProps(f.Props); err != nil {
			code = nackproto.BadProps
		}
	}
	w := pending{number: f.Number, since: c.now, code: code, done: code != nackproto.Placed}
	switch {
	case w.done:
	case p.refused != 0:
		w.code, w.done = p.code, true
	default:
		w.size = len(f.Payload) + len(f.Props) + len(subject) + 64
		p.bytes += w.size
		c.waiting += w.size
	}
	tag := p.first + uint64(len(p.window))
	p.window = append(p.window, w)
	if w.done {
		c.owe(slot)
	} else {
		it := stream.Item{Publisher: p.id, Number: f.Number, Publication: stream.Publication{
			Subject: subject, Payload: c.bytes.copy(f.Payload), Props: c.bytes.copy(f.Props), Expiry: f.Expiry, Flags: stream.Flags(0).WithQoS(1)}}
		if f.Retain {
			it.Flags |= stream.Retain
		}
		c.driver.Publish(c.slab.id(slot), tag, it)
		c.wake(slot, c.now+inTicks(c.limits.PublishTimeout))
	}
	switch {
	case len(p.window) >= c.limits.MaxUnconfirmed || p.bytes > c.limits.UnconfirmedBytes:
		c.pause(slot)
	case c.waiting > c.limits.WaitingBytes:
		c.pause(slot)
		c.held = append(c.held, c.slab.id(slot))
	}
}

// subjectOf gives the subject of a publish, or why it is refused. Not ok: the
// session was closed.
func (c *Core) subjectOf(slot uint32, cd *cold, f *nackproto.Publish) (stream.Subject, nackproto.PublishCode, bool) {
	p := cd.pub
	if f.Alias > nackproto.Alias(c.limits.MaxAliases) {
		c.close(slot, nackproto.CloseProtocol, fmt.Sprintf("alias %d is over the limit of %d", f.Alias, c.limits.MaxAliases))
		return "", 0, false
	}
	if f.Name == "" {
		if int(f.Alias) > len(p.aliases) || !p.aliases[f.Alias-1].bound {
			c.close(slot, nackproto.CloseProtocol, fmt.Sprintf("alias %d has no name", f.Alias))
			return "", 0, false
		}
		a := &p.aliases[f.Alias-1]
		return a.subject, a.code, true
	}
	a := alias{bound: true}
	var err error
	if a.subject, err = stream.ParseSubject(f.Name); err != nil {
		a.code = nackproto.BadSubject
	} else if isReserved(a.subject) {
		a.code = nackproto.Denied
	} else if cd.rights != nil && !cd.rights.MayPublish(a.subject) {
		a.code = nackproto.Denied
	}
	if f.Alias != 0 {
		for len(p.aliases) < int(f.Alias) {
			p.aliases = append(p.aliases, alias{})
		}
		p.aliases[f.Alias-1] = a
	}
	return a.subject, a.code, true
}

// isReserved reports whether no client may publish to s: what stands under $SYS
// is the node's own word. PROTOCOL.md §5.14.
func isReserved(s stream.Subject) bool {
	return s == "/$SYS" || strings.HasPrefix(string(s), "/$SYS/")
}

// Placed says what became of a publish. at is zero if its place is no longer
// known.
func (c *Core) Placed(id ID, tag uint64, at stream.Position, code nackproto.PublishCode, now int64) {
	c.setNow(now)
	slot, r := c.slab.find(id)
	if r == nil || r.flags&hasCold == 0 || c.cold[slot].pub == nil {
		return
	}
	p := c.cold[slot].pub
	if tag < p.first || tag-p.first >= uint64(len(p.window)) {
		return // answered UNKNOWN meanwhile
	}
	c.settle(slot, p, &p.window[tag-p.first], at, code)
}

func (c *Core) settle(slot uint32, p *publisher, w *pending, at stream.Position, code nackproto.PublishCode) {
	if w.done {
		return
	}
	w.done, w.at, w.code = true, at, code
	p.bytes -= w.size
	c.waiting -= w.size
	if code.MayRepeat() && (p.refused == 0 || w.number < p.refused) {
		p.refused, p.code = w.number, code
	}
	c.owe(slot)
}

// owe notes that a session has answers to its publishes to send.
func (c *Core) owe(slot uint32) {
	if r := c.slab.at(slot); r.flags&(owes|closing) == 0 {
		r.flags |= owes
		c.owing = append(c.owing, slot)
	}
}

// confirms puts what can be answered into the frames that wait.
func (c *Core) confirms(slot uint32, cd *cold) {
	c.slab.at(slot).flags &^= owes
	p := cd.pub
	if p == nil {
		return
	}
	f := &c.confirm
	f.Runs = f.Runs[:0]
	flush := func() {
		if len(f.Runs) > 0 {
			cd.out = f.AppendTo(cd.out)
			f.Runs = f.Runs[:0]
		}
	}
	n, next := 0, uint64(0)
	for ; n < len(p.window) && p.window[n].done; n++ {
		w := &p.window[n]
		if w.number != next || len(f.Runs) >= 256 {
			flush()
		}
		if len(f.Runs) == 0 {
			f.Number = w.number
		}
		code, at := p.answer(w)
		var retry time.Duration
		switch {
		case code == nackproto.NoQuorum || code == nackproto.Unknown:
			retry = retryNoQuorum
		case code.MayRepeat():
			retry = retryBusy
		}
		f.Add(code, at, retry)
		c.counts.Published[CodeIndex(code)]++
		next = w.number + 1
	}
	flush()
	p.first += uint64(n)
	if p.window = p.window[:copy(p.window, p.window[n:])]; len(p.window) == 0 && cap(p.window) > 64 {
		p.window = nil
	}
}

// answer gives what the client is told of w, the next in order. Whatever became of
// a publish behind one that is to come again, it is to come again, too: it may
// have got its place after the other was given up, or may have been refused for
// good before. Its repetition hears that. PROTOCOL.md §6.9.
func (p *publisher) answer(w *pending) (nackproto.PublishCode, stream.Position) {
	if p.told != 0 && w.number > p.told {
		return p.toldWhy, stream.Position{}
	}
	p.told = 0
	if w.code.MayRepeat() {
		p.told, p.toldWhy = w.number, w.code
	}
	return w.code, w.at
}

// mayRead reports whether a publisher has room for more.
func (c *Core) mayRead(p *publisher) bool {
	return p == nil || len(p.window) <= c.limits.MaxUnconfirmed/2 && p.bytes <= c.limits.UnconfirmedBytes/2
}

// resumeHeld reads on from those who were stopped for the sake of all.
func (c *Core) resumeHeld() {
	for len(c.held) > 0 && c.waiting <= c.limits.WaitingBytes/2 {
		id := c.held[0]
		c.held = c.held[1:]
		if slot, r := c.slab.find(id); r != nil && r.flags&hasCold != 0 && c.mayRead(c.cold[slot].pub) {
			c.unpause(slot)
		}
	}
	if len(c.held) == 0 {
		c.held = nil
	}
}

// expirePublishes answers UNKNOWN to what waits for its place for too long, and
// gives when to look again; 0: nothing waits.
func (c *Core) expirePublishes(slot uint32, p *publisher) ticks {
	limit := inTicks(c.limits.PublishTimeout)
	for i := range p.window {
		w := &p.window[i]
		if w.done {
			continue
		}
		if c.now-w.since < limit {
			return w.since + limit
		}
		c.settle(slot, p, w, stream.Position{}, nackproto.Unknown)
	}
	return 0
}

// Replaced says that another connection came with the publisher of id.
func (c *Core) Replaced(id ID, now int64) {
	c.setNow(now)
	if slot, r := c.slab.find(id); r != nil {
		c.close(slot, nackproto.CloseReplaced, "another connection came with the same incarnation")
	}
}

// A slicer copies small byte slices into large ones, to spare allocations.
type slicer struct{ free []byte }

func (s *slicer) copy(b []byte) []byte {
	const chunk, large = 32 << 10, 2 << 10
	switch n := len(b); {
	case n == 0:
		return nil
	case n > large:
		return append([]byte(nil), b...)
	case n > len(s.free):
		s.free = make([]byte, chunk)
	}
	out := s.free[:len(b):len(b)]
	s.free = s.free[len(b):]
	copy(out, b)
	return out
}
