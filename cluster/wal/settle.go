package wal

import "fmt"

// complete makes sure that the log reaches its guard and holds all between base and end.
func (r *recovery) complete() error {
	seg := r.x.segs[len(r.x.segs)-1]
	switch {
	case r.number < r.guard.number:
		return corrupt(seg.path, "ends at byte %d, after entry %d, but was synced up to byte %d of %s, entry %d",
			seg.end, r.x.last, r.guard.offset, segmentName(r.guard.last), r.guard.index)
	case !r.seen:
		return corrupt(r.dir.Path(guardName), "is older than the segments")
	case r.torn && r.number == r.guard.number:
		return corrupt(r.dir.Path(guardName), "is damaged in one slot, and the log may have been longer")
	case r.x.first() > r.x.base+1:
		return corrupt(r.x.segs[0].path, "begins with entry %d, and those from %d on are missing", r.x.first(), r.x.base+1)
	}
	return nil
}

// settle makes what was read durable and puts right what a crash left. What lies
// behind the guard may never have reached the disk although it can be read: after a
// failed sync the kernel takes the pages for clean. So it is written again.
func (r *recovery) settle() error {
	seg := r.x.segs[len(r.x.segs)-1]
	from := int64(headerSize)
	if r.guard.last == seg.number {
		from = r.guard.offset
	}
	rd := reader{file: seg.file, end: seg.end, chunk: 1 << 20}
	for off := from; off < seg.end; off += rd.chunk {
		b, err := rd.bytes(off, int(rd.chunk))
		if err == nil {
			_, err = seg.file.WriteAt(b, off)
		}
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	zeros := make([]byte, min(r.tail-seg.end, 1<<20))
	for off := seg.end; off < r.tail; off += int64(len(zeros)) {
		if _, err := seg.file.WriteAt(zeros[:min(int64(len(zeros)), r.tail-off)], off); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	if err := seg.file.Sync(); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	if err := r.renew(); err != nil {
		return err
	}
	for _, n := range r.stale {
		if err := r.dir.Remove(segmentName(n)); err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	if err := r.dir.Sync(); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	r.report.Segments = len(r.x.segs)
	r.report.Entries = int(r.x.last - r.x.base)
	return nil
}

// renew makes the guard say what was found, durably: first in the slot that does
// not hold the best that is known. Also if it says so already, since like the log's
// end it may never have reached the disk.
func (r *recovery) renew() error {
	if r.torn {
		r.report.Guard = "one slot was unreadable and was written again"
	}
	g := r.Log.guard()
	b := g.encode(r.cfg)
	for _, slot := range []uint64{(r.guard.number + 1) % 2, r.guard.number % 2} {
		_, err := r.guardFile.WriteAt(b, int64(slot)*guardSlot)
		if err == nil {
			err = r.guardFile.Sync()
		}
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
	}
	return nil
}
