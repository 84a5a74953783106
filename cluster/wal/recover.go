package wal

import (
	"fmt"
	"io"
)

// segment reads a segment and takes it into the index.
func (r *recovery) segment(n uint64, first, last bool) error {
	path := r.dir.Path(segmentName(n))
	f, err := r.dir.Open(segmentName(n))
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	seg := &segment{number: n, file: f, path: path, end: headerSize}
	r.x.segs = append(r.x.segs, seg)
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	if err := r.header(seg, first); err != nil {
		return err
	}
	rd := reader{file: f, end: size, salt: seg.salt, chunk: 1 << 20}
	for {
		ok, err := r.batch(seg, &rd)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	r.report.Bytes += seg.end
	end, err := rd.lastByte(seg.end)
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	r.tail = end
	switch {
	case end == seg.end:
		return nil
	case !last:
		// Either something is damaged here, and then the next header does not go on
		// from here. Or it is what a torn batch left: its zeroing at a start may be
		// lost as well, if the sync of that start failed.
		return nil
	case r.number < r.guard.number:
		return nil // complete says it better
	}
	return r.torntail(seg, &rd)
}

// header takes in what a segment's header says.
func (r *recovery) header(seg *segment, first bool) error {
	b := make([]byte, headerSize)
	if _, err := seg.file.ReadAt(b, 0); err != nil && err != io.EOF {
		return fmt.Errorf("wal: %w", err)
	}
	h, err := decodeHeader(b, seg.path)
	if err != nil {
		return err
	}
	if err := r.cfg.checkOwner(h.cluster, h.node, seg.path); err != nil {
		return err
	}
	if h.segment != seg.number {
		return corrupt(seg.path, "is segment %s under another name", segmentName(h.segment))
	}
	if !first && (h.prev != r.chain || h.number != r.number+1 || !h.reset && h.next != r.x.last+1) {
		before := r.x.segs[len(r.x.segs)-2]
		if r.tail > before.end {
			return corrupt(before.path, "is damaged at byte %d", before.end)
		}
		return corrupt(before.path, "ends at byte %d, after batch %d, but the next segment goes on from batch %d", before.end, r.number, h.number)
	}
	if first || h.reset {
		r.x.reset(h.base, h.term, h.state)
		r.x.last = h.next - 1
	}
	seg.salt = h.crc
	r.number, r.chain = h.number, h.crc
	return r.met(seg)
}

// met compares the guard with the log at the batch that it names.
func (r *recovery) met(seg *segment) error {
	if r.number != r.guard.number {
		return nil
	}
	r.seen = true
	if seg.number != r.guard.last || seg.end != r.guard.offset || r.chain != r.guard.chain {
		return corrupt(r.dir.Path(guardName), "does not belong to these segments")
	}
	return nil
}

// batch takes in the batch at the segment's end; !ok if there is no whole one.
func (r *recovery) batch(seg *segment, rd *reader) (ok bool, err error) {
	chain, off := r.chain, seg.end
	var f frame
	for !f.last {
		if f, ok, err = rd.frame(off); err != nil {
			return false, fmt.Errorf("wal: %w", err)
		}
		if !ok || f.prev != chain || f.number != r.number+1 {
			return false, nil
		}
		chain = f.crc
		off += f.size
	}
	for at := seg.end; at < off; at += f.size {
		if f.size < off-seg.end { // more than one: only now it is known to be whole
			if f, ok, err = rd.frame(at); err != nil || !ok {
				return false, fmt.Errorf("wal: %s changes while it is read (%v)", seg.path, err)
			}
		}
		if err := r.records(seg, at, f.body); err != nil {
			return false, err
		}
	}
	r.number, r.chain, seg.end = r.number+1, chain, off
	if r.number > r.guard.number {
		r.report.Unconfirmed++
	}
	return true, r.met(seg)
}

// records takes in the records of a frame.
func (r *recovery) records(seg *segment, off int64, body []byte) error {
	for first := true; len(body) > 0; {
		rec, rest, ok := next(body)
		if !ok {
			return corrupt(seg.path, "holds a record at byte %d that this version does not know", off)
		}
		body = rest
		switch rec.tag {
		case recordState:
			r.x.state = rec.state
		case recordBase:
			r.x.compact(rec.base, rec.term)
		case recordEntry:
			i := rec.entry.Index
			if i > r.x.last+1 || i <= r.x.base || !first && i != r.x.last+1 {
				return corrupt(seg.path, "holds entry %d at byte %d, which does not follow entry %d", i, off, r.x.last)
			}
			if first {
				r.x.frame(off, i)
				first = false
			}
			r.x.entry(i, rec.entry.Term)
		}
	}
	return nil
}

// torntail decides what the bytes behind the last whole batch are. A crash leaves
// parts of one batch, since the next one is written only when it is synced. So a
// frame of a batch beyond that means that confirmed bytes were damaged, even where
// the guard is too old to know.
func (r *recovery) torntail(seg *segment, rd *reader) error {
	for off := seg.end; off < r.tail; off += 8 {
		b, err := rd.bytes(off, frameHeader)
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		// The number comes before the checksum: what a publisher wrote may look like
		// many long frames, and a sum over each would take hours.
		if _, ok := frameLength(b); !ok || !r.later(frameNumber(b), off-seg.end) {
			continue
		}
		f, ok, err := rd.frame(off)
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		if ok {
			return corrupt(seg.path, "is damaged at byte %d, before batch %d at byte %d", seg.end, f.number, off)
		}
	}
	r.report.Repaired, r.report.RepairedFile, r.report.RepairedBytes = true, seg.path, r.tail-seg.end
	return nil
}

// later reports whether a frame that lies so many bytes behind the last whole batch
// can be of a batch beyond the next one.
func (r *recovery) later(number uint64, behind int64) bool {
	return number > r.number+1 && number-r.number <= uint64(behind)/frameHeader+1
}
