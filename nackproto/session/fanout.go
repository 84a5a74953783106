package session

import (
	"github.com/nackmq/nackmq/stream"
)

// A batch is what Messages works on: some messages, at most turnBytes of them,
// and how they go to the sessions that are caught up. Each message is encoded
// once; the bytes are shared by all its receivers.
type batch struct {
	before  stream.Index // the core's head before it
	frames  []frame      // by message
	runs    []run
	buf     []byte // the runs' bytes; not used again if a driver still has them
	given   bool   // a driver answered Later
	all     []byte // all runs, in the order of the log; made when it is first wanted
	touched []touch
	steps   []step
	follows []uint32 // by run: scratch of one session
}

// A frame is where a message of the batch stands.
type frame struct {
	run        int32 // or -1: nobody follows
	next       int32 // the next message of the run
	begin, end int32 // in buf
}

// A run is the messages of one subject in a batch.
type run struct {
	at         int32 // its place in runs
	subject    uint32
	head       int32        // the first message
	tail       int32        // the last one
	first      stream.Seq   // of the first
	index      stream.Index // of the first
	before     stream.Index // of the message before the first; 0: not known
	count      int
	bytes      []byte
	introduced []byte // SUBJECT and bytes; made when it is first wanted
}

// A touch is a session that gets something, a step one of the runs that it gets.
type touch struct {
	slot        uint32
	count       int32
	first, last int32
}

type step struct {
	run    int32
	next   int32
	follow uint32
}

// Messages delivers what the loop's reader gave, in the order of the log: to
// sessions that are caught up and have room. The others read the log later.
func (c *Core) Messages(ms []stream.Message, now int64) {
	c.setNow(now)
	c.logTime()
	for len(ms) > 0 {
		n, size := 1, cost(&ms[0])
		for n < len(ms) && size+cost(&ms[n]) <= turnBytes {
			size += cost(&ms[n])
			n++
		}
		c.deliver(ms[:n])
		ms = ms[n:]
	}
}

func cost(m *stream.Message) int { return len(m.Payload) + len(m.Props) + 16 }

func (c *Core) deliver(ms []stream.Message) {
	b := &c.batch
	c.sort(ms)
	switch len(b.runs) {
	case 0:
		return
	case 1:
		c.deliverRun(ms)
	default:
		c.deliverRuns(ms)
	}
	if b.given {
		b.buf, b.given = nil, false
	} else if cap(b.buf) > 4*turnBytes {
		b.buf = nil
	}
}

// sort puts the messages of ms that somebody follows into runs, encodes them and
// moves the head behind them.
func (c *Core) sort(ms []stream.Message) {
	b := &c.batch
	b.before, b.runs, b.buf, b.all, b.frames = c.head, b.runs[:0], b.buf[:0], nil, b.frames[:0]
	for i := range ms {
		m := &ms[i]
		si := c.stateOf(m.Subject, m.ID, m.Position.Epoch)
		fr := frame{run: -1, next: -1}
		if si != 0 {
			s := c.subjects.at(si)
			if s.run == 0 {
				b.runs = append(b.runs, run{at: int32(len(b.runs)), subject: si, head: int32(i), first: m.Position.Seq, index: m.Index, before: s.index})
				s.run = int32(len(b.runs))
			} else {
				b.frames[b.runs[s.run-1].tail].next = int32(i)
			}
			fr.run = s.run - 1
			b.runs[fr.run].tail = int32(i)
			b.runs[fr.run].count++
		}
		b.frames = append(b.frames, fr)
	}
	c.head = ms[len(ms)-1].Index
	for ri := range b.runs {
		r := &b.runs[ri]
		start := len(b.buf)
		for i := r.head; i >= 0; i = b.frames[i].next {
			b.frames[i].begin = int32(len(b.buf))
			b.buf = appendMessage(b.buf, &ms[i])
			b.frames[i].end = int32(len(b.buf))
		}
		// Should buf move when it grows, the bytes before stay valid where they are.
		r.bytes = b.buf[start:len(b.buf):len(b.buf)]
		s := c.subjects.at(r.subject)
		s.run = 0
		s.seen(c.lapse, ms[r.tail].Position.Seq, ms[r.tail].Index)
	}
}

// live gives the follow's session if it is to get a batch now. Whoever is behind
// is left alone; whoever has no room falls behind.
func (c *Core) live(fi uint32, r *run) (slot uint32, ok bool) {
	f := c.follows.at(fi)
	rec := c.slab.at(f.session)
	switch {
	case rec.flags&(scanning|closing) != 0:
		return 0, false
	case f.sub&gapped != 0:
		c.enqueue(f.session)
		return 0, false
	case rec.flags&hasCold != 0 && rec.flags&blocked == 0:
		// An answer that waits goes first.
		c.writeOut(f.session, c.cold[f.session])
	}
	if rec.flags&blocked != 0 {
		c.fallBehind(f.session, fi, r.first, r.index, r.before)
		return 0, false
	}
	return f.session, true
}

// fallBehind notes that a session did not get a message of a follow, that of seq
// at index. One that follows few subjects reads their chains, one that follows
// many reads the log.
func (c *Core) fallBehind(slot, fi uint32, seq stream.Seq, at, before stream.Index) {
	r := c.slab.at(slot)
	if r.flags&scanning != 0 {
		return
	}
	if r.count <= gapsAtOnce {
		s := c.subjects.at(c.follows.at(fi).subject)
		c.openGap(slot, fi, missed, stream.Position{Epoch: s.epoch, Seq: seq - 1}, before)
		return
	}
	c.chill(slot)
	r.flags |= scanning
	r.cursor = at - 1
	c.enqueue(slot)
}

// deliverRun is the hot path: one subject, the same bytes for everybody.
func (c *Core) deliverRun(ms []stream.Message) {
	b := &c.batch
	r := &b.runs[0]
	for fi := c.subjects.at(r.subject).followers; fi != 0; fi = c.follows.at(fi).next {
		if slot, ok := c.live(fi, r); ok {
			c.writeRun(slot, fi, r, ms)
		}
	}
}

// writeRun hands one run to one session.
func (c *Core) writeRun(slot, fi uint32, r *run, ms []stream.Message) {
	f := c.follows.at(fi)
	out, shift := r.bytes, 0
	switch f.sub & (announced | moved) {
	case announced:
	case announced | moved:
		c.writeMixed(slot, ms, only(r, fi))
		return
	default:
		if r.introduced == nil {
			r.introduced = append(appendSubject(nil, c.subjects.at(r.subject), r.first-1, r.first-1), r.bytes...)
		}
		out, shift = r.introduced, len(r.introduced)-len(r.bytes)
		f.sub = f.sub&^moved | announced
	}
	c.counts.Delivered += uint64(r.count)
	n := c.write(slot, out)
	if n < len(out) {
		c.cutShared(slot, out, n, shift, ms, only(r, fi))
		return
	}
	c.batch.given = c.batch.given || c.slab.at(slot).flags&inFlight != 0
}

// A follower gives the follow by which a session gets a run, 0: it does not.
type follower func(*run) uint32

func only(r *run, fi uint32) follower {
	return func(o *run) uint32 {
		if o == r {
			return fi
		}
		return 0
	}
}

// wanted gives the follow by which a session gets message i of the batch.
func (b *batch) wanted(i int, of follower) uint32 {
	if ri := b.frames[i].run; ri >= 0 {
		return of(&b.runs[ri])
	}
	return 0
}

func (b *batch) frame(i int) []byte { return b.buf[b.frames[i].begin:b.frames[i].end] }

// cutShared is cut for bytes that are shared: shift bytes of SUBJECT, then the
// frames of those messages that of gives a follow for.
func (c *Core) cutShared(slot uint32, out []byte, n, shift int, ms []stream.Message, of follower) {
	c.marks = c.marks[:0]
	at := shift
	for i := range ms {
		fi := c.batch.wanted(i, of)
		if fi == 0 {
			continue
		}
		if shift > 0 && len(c.marks) == 0 {
			c.marks = append(c.marks, mark{end: shift, follow: fi})
		}
		at += int(c.batch.frames[i].end - c.batch.frames[i].begin)
		c.marks = append(c.marks, mark{end: at, follow: fi, seq: ms[i].Position.Seq, index: ms[i].Index})
	}
	c.takeBack(slot, out, n)
}

// takeBack is cut for live messages: c.marks says what out is.
func (c *Core) takeBack(slot uint32, out []byte, n int) {
	c.cut(slot, out, n, c.marks, func(m mark) {
		c.fallBehind(slot, m.follow, m.seq, m.index, 0)
	})
	for _, m := range c.marks {
		if m.seq != 0 && m.end > n {
			c.counts.Delivered--
		}
	}
}

// deliverRuns is for a batch of several subjects: each session gets what it
// follows in one write, in the order of the log.
func (c *Core) deliverRuns(ms []stream.Message) {
	b := &c.batch
	b.touched, b.steps = b.touched[:0], b.steps[:0]
	for ri := range b.runs {
		r := &b.runs[ri]
		for fi := c.subjects.at(r.subject).followers; fi != 0; fi = c.follows.at(fi).next {
			slot, ok := c.live(fi, r)
			if !ok {
				continue
			}
			at := int32(len(b.steps))
			b.steps = append(b.steps, step{run: int32(ri), next: -1, follow: fi})
			rec := c.slab.at(slot)
			if k := rec.mark; int(k) < len(b.touched) && b.touched[k].slot == slot {
				t := &b.touched[k]
				b.steps[t.last].next = at
				t.last = at
				t.count++
				continue
			}
			rec.mark = uint32(len(b.touched))
			b.touched = append(b.touched, touch{slot: slot, count: 1, first: at, last: at})
		}
	}
	for i := range b.touched {
		t := &b.touched[i]
		s := b.steps[t.first]
		if t.count == 1 {
			c.writeRun(t.slot, s.follow, &b.runs[s.run], ms)
			continue
		}
		c.writeRuns(t, ms)
	}
}

// writeRuns hands several runs to one session.
func (c *Core) writeRuns(t *touch, ms []stream.Message) {
	b := &c.batch
	b.follows = append(b.follows[:0], make([]uint32, len(b.runs))...)
	plain := true
	for at := t.first; at >= 0; at = b.steps[at].next {
		s := &b.steps[at]
		b.follows[s.run] = s.follow
		plain = plain && c.follows.at(s.follow).sub&(announced|moved) == announced
	}
	of := func(r *run) uint32 { return b.follows[r.at] }
	if !plain || int(t.count) < len(b.runs) {
		c.writeMixed(t.slot, ms, of)
		return
	}
	if b.all == nil {
		for i := range ms {
			if b.frames[i].run >= 0 {
				b.all = append(b.all, c.batch.frame(i)...)
			}
		}
	}
	for ri := range b.runs {
		c.counts.Delivered += uint64(b.runs[ri].count)
	}
	if n := c.write(t.slot, b.all); n < len(b.all) {
		c.cutShared(t.slot, b.all, n, 0, ms, of)
	}
}

// writeMixed hands to a session the messages that of gives a follow for, with
// what it must know to read them.
func (c *Core) writeMixed(slot uint32, ms []stream.Message, of follower) {
	c.resetScratch()
	for i := range ms {
		fi := c.batch.wanted(i, of)
		if fi == 0 {
			continue
		}
		c.counts.Delivered++
		f := c.follows.at(fi)
		if f.sub&(announced|moved) == announced {
			c.scratch = append(c.scratch, c.batch.frame(i)...)
			c.marks = append(c.marks, mark{end: len(c.scratch), follow: fi, seq: ms[i].Position.Seq, index: ms[i].Index})
			continue
		}
		if f.sub&announced == 0 {
			seq := ms[i].Position.Seq - 1
			c.scratch = appendSubject(c.scratch, c.subjects.at(f.subject), seq, seq)
			c.marks = append(c.marks, mark{end: len(c.scratch), follow: fi})
			f.sub = f.sub&^moved | announced
		}
		c.scratchMessage(fi, &ms[i])
	}
	out := c.scratch
	n := c.write(slot, out)
	if c.slab.at(slot).flags&inFlight != 0 {
		c.scratch = nil
	}
	if n < len(out) {
		c.takeBack(slot, out, n)
	}
}
