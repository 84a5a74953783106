package stream

// trim lets go of the oldest messages until the cache is within its limits (S6).
func (l *Ledger) trim() {
	c := &l.cache
	oldest := l.time - l.limits.CacheAge.Milliseconds()
	for c.tail < c.head {
		if c.bytes <= l.limits.CacheBytes && c.ballast <= l.limits.CacheBytes && int64(c.head-c.tail) <= l.limits.CacheMessages &&
			c.segs[0].note(c.tail+1).time > oldest {
			return
		}
		r, i := c.evict()
		if h := l.heads.at(uint32(r.id)); h.oldest == i {
			h = l.heads.edit(uint32(r.id))
			h.oldest = 0
			if r.next != 0 {
				h.oldest = i + Index(r.next)
			}
		}
	}
}

// sweep looks at n subjects and n publishers, going round, and forgets what was
// silent for longer than Limits.SubjectAge. A subject that it forgets has no
// message in the cache, since SubjectAge is not below CacheAge.
func (l *Ledger) sweep(n int) {
	silent := l.time - l.limits.SubjectAge.Milliseconds()
	for ; n > 0; n-- {
		if l.heads.next > 0 {
			slot := l.sweepHeads % l.heads.next
			l.sweepHeads = slot + 1
			l.sweepHead(slot, silent)
		}
		if l.publishers.next > 0 {
			slot := l.sweepKnown % l.publishers.next
			l.sweepKnown = slot + 1
			if p := l.publishers.at(slot); p.id != 0 && p.time <= silent {
				l.forgetPublisher(slot)
			}
		}
	}
}

func (l *Ledger) sweepHead(slot uint32, silent int64) {
	h := l.heads.at(slot)
	if h.name == "" {
		return
	}
	if h.retained != nil {
		if m := h.retained.message(h, SubjectID(slot)); m.ExpiredAt(l.time) {
			h = l.heads.edit(slot)
			l.keepNothing(h)
		}
	}
	if h.retained == nil && h.oldest == 0 && h.time <= silent {
		delete(l.ids, h.name)
		l.subjectBytes -= int64(len(h.name))
		l.heads.give(slot)
	}
}

// forgetSilentPublisher makes room for one publisher: of some, it forgets the one
// that was silent for longest.
func (l *Ledger) forgetSilentPublisher() {
	victim, found := uint32(0), false
	for looked := 0; looked < 16 || !found; looked++ {
		slot := l.sweepKnown % l.publishers.next
		l.sweepKnown = slot + 1
		if p := l.publishers.at(slot); p.id != 0 && (!found || p.time < l.publishers.at(victim).time) {
			victim, found = slot, true
		}
	}
	l.forgetPublisher(victim)
}

func (l *Ledger) forgetPublisher(slot uint32) {
	delete(l.known, l.publishers.at(slot).id)
	l.publishers.give(slot)
}
