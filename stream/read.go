package stream

// A Top is what a reader may know of a subject without reading it.
type Top struct {
	ID       SubjectID
	First    Seq      // the oldest message in the cache; Last.Seq+1 if there is none
	Last     Position // the newest message
	Index    Index    // of the newest message
	Retained bool
}

// Top gives what is known of s; false if nothing is.
func (l *Ledger) Top(s Subject) (Top, bool) {
	slot, ok := l.ids[s]
	if !ok {
		return Top{}, false
	}
	return l.top(slot), true
}

func (l *Ledger) top(slot uint32) Top {
	h := l.heads.at(slot)
	t := Top{ID: SubjectID(slot), First: h.last + 1, Last: Position{h.epoch, h.last}, Index: h.newest, Retained: h.retained != nil}
	if h.oldest != 0 {
		t.First = l.cache.rec(h.oldest).seq
	}
	return t
}

// Retained gives the retained message of s.
func (l *Ledger) Retained(s Subject) (Message, bool) {
	slot, ok := l.ids[s]
	if !ok || l.heads.at(slot).retained == nil {
		return Message{}, false
	}
	h := l.heads.at(slot)
	return h.retained.message(h, SubjectID(slot)), true
}

// Last gives the newest message of s if the cache holds it, else the retained
// one.
func (l *Ledger) Last(s Subject) (Message, bool) {
	if slot, ok := l.ids[s]; ok && l.cache.holds(l.heads.at(slot).newest) {
		return l.message(l.heads.at(slot).newest), true
	}
	return l.Retained(s)
}

// Subjects calls yield with the subjects that f matches among the slots from on,
// until it returns false or steps slots were looked at. It gives the slot at
// which to go on, and whether there is more. Between calls subjects may come and
// go; one that stays all the time is seen once.
func (l *Ledger) Subjects(f Filter, from SubjectID, steps int, yield func(Subject, Top) bool) (next SubjectID, more bool) {
	if f.IsExact() {
		if slot, ok := l.ids[Subject(f)]; ok && from == 0 {
			yield(Subject(f), l.top(slot))
		}
		return 0, false
	}
	i := uint32(from)
	for ; i < l.heads.next && steps > 0; steps-- {
		h := l.heads.at(i)
		i++
		if h.name != "" && f.Match(h.name) && !yield(h.name, l.top(i-1)) {
			break
		}
	}
	return SubjectID(i), i < l.heads.next
}

// ReadLog fills buf, up to its capacity, with the messages after index after, in
// the order of the log. It starts at Tail if after is below it: ask first.
func (l *Ledger) ReadLog(after Index, buf []Message) []Message {
	buf = buf[:0]
	for i := max(after, l.cache.tail) + 1; i <= l.cache.head && len(buf) < cap(buf); i++ {
		buf = append(buf, l.message(i))
	}
	return buf
}

// ReadSubject fills buf, up to its capacity, with the messages of s after
// position after, in order. The zero position is before everything. hint is the
// index of the message at after if the caller knows it, which saves looking for
// it. The error is a *LostError (S7).
//
// A subject that is not known has no history yet: it gives nothing after the
// zero position and ErrOther after any other.
func (l *Ledger) ReadSubject(s Subject, after Position, hint Index, buf []Message) ([]Message, error) {
	buf = buf[:0]
	slot, ok := l.ids[s]
	if !ok {
		if after.IsZero() {
			return buf, nil
		}
		return buf, &LostError{Subject: s, After: after, Err: ErrOther}
	}
	t := l.top(slot)
	var why error
	switch {
	case !after.IsZero() && after.Epoch != t.Last.Epoch:
		why = ErrOther
	case after.Seq > t.Last.Seq:
		why = ErrAhead
	case after.Seq+1 < t.First:
		why = ErrTrimmed
	case after.Seq == t.Last.Seq:
		return buf, nil
	}
	if why != nil {
		return buf, &LostError{Subject: s, After: after, First: Position{t.Last.Epoch, t.First}, Last: t.Last, Err: why}
	}
	for i := l.find(slot, t, after.Seq+1, hint); ; {
		buf = append(buf, l.message(i))
		next := l.cache.rec(i).next
		if next == 0 || len(buf) >= cap(buf) {
			return buf, nil
		}
		i += Index(next)
	}
}

// find gives the index of the message of seq, which the cache holds, walking
// from whichever end is nearer.
func (l *Ledger) find(slot uint32, t Top, seq Seq, hint Index) Index {
	if l.cache.holds(hint) {
		if r := l.cache.rec(hint); r.id == SubjectID(slot) && r.seq+1 == seq && r.next != 0 {
			return hint + Index(r.next)
		}
	}
	if t.Last.Seq-seq < seq-t.First {
		i := t.Index
		for s := t.Last.Seq; s > seq; s-- {
			i -= Index(l.cache.rec(i).prev)
		}
		return i
	}
	i := l.heads.at(slot).oldest
	for s := t.First; s < seq; s++ {
		i += Index(l.cache.rec(i).next)
	}
	return i
}

// History fills buf, up to its capacity and at most n, with the newest messages
// of s that the cache holds, oldest first.
func (l *Ledger) History(s Subject, n int, buf []Message) []Message {
	t, ok := l.Top(s)
	if !ok {
		return buf[:0]
	}
	n = min(n, cap(buf), int(t.Last.Seq+1-t.First))
	if n <= 0 {
		return buf[:0]
	}
	buf, _ = l.ReadSubject(s, Position{t.Last.Epoch, t.Last.Seq - Seq(n)}, 0, buf[:0:n])
	return buf
}

// message gives message i, which the cache holds.
func (l *Ledger) message(i Index) Message {
	s := l.cache.seg(i)
	r := &s.recs[i-s.base]
	h := l.heads.at(uint32(r.id))
	m := messageOf(s.item(i), h, r.id)
	m.Position.Seq, m.Index, m.Time = r.seq, i, s.note(i).time
	return m
}

func (r *retained) message(h *head, id SubjectID) Message {
	m := messageOf(r.item, h, id)
	m.Position.Seq, m.Index, m.Time = r.seq, r.at, r.time
	return m
}

// messageOf reads an item that was checked when it was placed.
func messageOf(item []byte, h *head, id SubjectID) Message {
	it, err := parseItem(item)
	if err != nil {
		panic("stream: an item in the cache is unreadable: " + err.Error())
	}
	return Message{
		Publication: Publication{Subject: h.name, Payload: it.payload, Props: it.props, Expiry: it.expiry, Flags: it.flags},
		Position:    Position{Epoch: h.epoch},
		Publisher:   it.publisher,
		ID:          id,
	}
}
