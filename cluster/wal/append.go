package wal

import "fmt"

// flushEvery is after how many batches the disk is asked to write the guard.
const flushEvery = 64

// Append writes a hard state, entries, or both, as one batch, and returns when it
// is durable. The entries follow each other; the first follows the last one or takes
// the place of one that the log holds, and then nothing of what came behind that one
// stays. With neither a state nor entries it does nothing.
//
// ErrGap, ErrCompacted and ErrTooLarge refuse the call and leave the log as it was.
// After any other error the log is broken: nothing of this batch is confirmed, every
// later call returns the error, and a failed sync is never tried again. Open then
// finds all that was confirmed.
func (l *Log) Append(st *State, es []Entry) error {
	if l.err != nil {
		return l.err
	}
	if st == nil && len(es) == 0 {
		return nil
	}
	if err := l.fits(es); err != nil {
		return err
	}
	l.begin()
	if st != nil {
		l.buf = appendState(l.buf, *st)
	}
	for i := range es {
		if f := &l.frames[len(l.frames)-1]; f.first == 0 {
			f.first, f.from = es[i].Index, i
		}
		l.buf = appendEntry(l.buf, &es[i])
		if len(l.buf)-int(l.frames[len(l.frames)-1].off) >= frameHeader+frameBody && i+1 < len(es) {
			l.cut()
		}
	}
	if err := l.commit(); err != nil {
		return err
	}
	for k, f := range l.frames {
		if f.first == 0 {
			continue
		}
		l.x.frame(f.off, f.first)
		to := len(es)
		if k+1 < len(l.frames) {
			to = l.frames[k+1].from
		}
		for _, e := range es[f.from:to] {
			l.x.entry(e.Index, e.Term)
		}
	}
	if st != nil {
		l.x.state = *st
	}
	return l.confirm()
}

// fits checks entries against the log and each other.
func (l *Log) fits(es []Entry) error {
	size := 0
	for i, e := range es {
		switch {
		case i > 0 && e.Index != es[i-1].Index+1:
			return fmt.Errorf("%w: %d after %d", ErrGap, e.Index, es[i-1].Index)
		case i == 0 && e.Index > l.x.last+1:
			return fmt.Errorf("%w: %d after %d", ErrGap, e.Index, l.x.last)
		case i == 0 && e.Index <= l.x.base:
			return fmt.Errorf("%w: append of %d, the base is %d", ErrCompacted, e.Index, l.x.base)
		}
		size += len(e.Data) + 64
	}
	if size > maxBatch {
		return ErrTooLarge
	}
	return nil
}

// begin starts a batch with its first frame. Until commit the offsets in frames
// are those in buf.
func (l *Log) begin() {
	if cap(l.buf) > 4<<20 {
		l.buf = nil // one huge batch is not kept for ever
	}
	l.buf, l.frames = l.buf[:0], l.frames[:0]
	l.frame()
}

func (l *Log) frame() {
	l.frames = append(l.frames, frameAt{off: int64(len(l.buf))})
	l.buf = append(l.buf, make([]byte, frameHeader)...)
}

// cut ends a frame and begins the next.
func (l *Log) cut() {
	l.pad()
	l.frame()
}

// pad notes how long the frame is and fills up to where the next may begin.
func (l *Log) pad() {
	f := &l.frames[len(l.frames)-1]
	f.length = len(l.buf) - int(f.off)
	for len(l.buf)%8 != 0 {
		l.buf = append(l.buf, 0)
	}
}

// commit writes the batch behind the last one, in a segment with room for it, and
// syncs it. The frames' offsets are then those in the file.
func (l *Log) commit() error {
	l.pad()
	seg := l.x.segs[len(l.x.segs)-1]
	if need := int64(len(l.buf)); seg.end > headerSize && seg.end+need > l.cfg.segmentBytes() {
		if err := l.roll(headerSize+need, nil); err != nil {
			return l.broken(err)
		}
		seg = l.x.segs[len(l.x.segs)-1]
	}
	l.number++
	for i := range l.frames {
		f := &l.frames[i]
		b := l.buf[f.off : f.off+int64(f.length)]
		f.off += seg.end
		l.chain = seal(b, seg.salt, f.off, l.number, l.chain, i == len(l.frames)-1)
	}
	n, err := seg.file.WriteAt(l.buf, seg.end)
	if err == nil && n < len(l.buf) {
		err = fmt.Errorf("%s: %d of %d bytes were written", seg.path, n, len(l.buf))
	}
	if err == nil {
		err = seg.file.Sync()
	}
	if err != nil {
		return l.broken(err)
	}
	return nil
}

// confirm moves the log's end behind the batch and tells the guard.
func (l *Log) confirm() error {
	l.x.segs[len(l.x.segs)-1].end += int64(len(l.buf))
	if err := l.writeGuard(l.guard(), false); err != nil {
		return l.broken(err)
	}
	if l.unflushed >= flushEvery {
		return l.FlushGuard()
	}
	return nil
}

// roll begins a segment: durable, and known to a durable guard, before it is used.
// With a reset the log begins anew in it.
func (l *Log) roll(need int64, reset *header) error {
	h := header{next: l.x.last + 1, base: l.x.base, term: l.x.baseTerm, state: l.x.state}
	if reset != nil {
		h = *reset
	}
	h.cluster, h.node, h.prev = l.cfg.ClusterID, l.cfg.NodeID, l.chain
	h.segment, h.number = l.x.segs[len(l.x.segs)-1].number+1, l.number+1
	seg, err := createSegment(l.dir, &h, max(need, l.cfg.segmentBytes()))
	if err != nil {
		return err
	}
	l.number, l.chain = h.number, h.crc
	l.x.segs = append(l.x.segs, seg)
	if reset != nil {
		l.x.reset(h.base, h.term, h.state)
	}
	g := l.guard()
	if reset != nil {
		g.first = g.last
	}
	return l.writeGuard(g, true)
}

// createSegment makes a segment that holds nothing but its header, durably.
func createSegment(dir Dir, h *header, size int64) (*segment, error) {
	name := segmentName(h.segment)
	f, err := dir.Create(name, size)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(h.encode(), 0); err == nil {
		if err = f.Sync(); err == nil {
			err = dir.Sync()
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{number: h.segment, file: f, path: dir.Path(name), salt: h.crc, end: headerSize}, nil
}
