package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Create begins an empty log, whose first entry will have index 1. A directory
// that holds a log, or a part of one, is ErrExists.
func Create(dir Dir, c Config) (*Log, error) {
	files, err := survey(dir)
	if err != nil {
		return nil, err
	}
	if len(files.segments) > 0 || files.guard {
		// A creation that was cut short left no log, and is done again.
		l, _, err := Open(dir, c)
		if !errors.Is(err, ErrNoLog) {
			if err == nil {
				l.Close()
			}
			return nil, &refusal{fmt.Sprintf("wal: %s holds a log already: open it, or take an empty directory", dir.Path("")), ErrExists}
		}
		for _, n := range files.segments {
			if err := dir.Remove(segmentName(n)); err != nil {
				return nil, fmt.Errorf("wal: %w", err)
			}
		}
		if files.guard {
			if err := dir.Remove(guardName); err != nil {
				return nil, fmt.Errorf("wal: %w", err)
			}
		}
	}
	l := &Log{dir: dir, cfg: c}
	if err := l.create(); err != nil {
		if l.guardFile != nil {
			l.guardFile.Close()
		}
		return nil, fmt.Errorf("wal: %w", err)
	}
	return l, nil
}

// create writes the guard twice: as of a log that is being created, then as of one
// that must be there.
func (l *Log) create() (err error) {
	if l.guardFile, err = l.dir.Create(guardName, guardSize); err != nil {
		return err
	}
	if err := errors.Join(l.writeGuard(guard{}, true), l.dir.Sync()); err != nil {
		return err
	}
	h := header{cluster: l.cfg.ClusterID, node: l.cfg.NodeID, segment: 1, number: 1, next: 1}
	seg, err := createSegment(l.dir, &h, l.cfg.segmentBytes())
	if err != nil {
		return err
	}
	l.x.segs = []*segment{seg}
	l.number, l.chain = h.number, h.crc
	return l.writeGuard(l.guard(), true)
}

// files is what a directory holds.
type files struct {
	guard    bool
	segments []uint64 // sorted
}

func survey(dir Dir) (f files, err error) {
	names, err := dir.List()
	if err != nil {
		return f, fmt.Errorf("wal: %w", err)
	}
	for _, name := range names {
		if name == guardName {
			f.guard = true
			continue
		}
		if !strings.HasSuffix(name, ".wal") {
			continue // not ours
		}
		var n uint64
		if _, err := fmt.Sscanf(name, "%016x.wal", &n); err != nil || name != segmentName(n) || n == 0 {
			return f, corrupt(dir.Path(name), "is not a segment of a log, by its name")
		}
		f.segments = append(f.segments, n)
	}
	slices.Sort(f.segments)
	return f, nil
}

// Open opens the log of a directory: it reads and checks all of it, cuts a batch
// that was torn before it was confirmed, and makes the rest durable. It changes
// nothing before it knows that nothing is missing. Errors: ErrNoLog, ErrForeign,
// ErrNewer, CorruptError, and what the file system says.
func Open(dir Dir, c Config) (*Log, Report, error) {
	found, err := survey(dir)
	if err != nil {
		return nil, Report{}, err
	}
	if !found.guard {
		if len(found.segments) == 0 {
			return nil, Report{}, ErrNoLog
		}
		return nil, Report{}, corrupt(dir.Path(guardName), "is missing among the segments")
	}
	r := recovery{Log: &Log{dir: dir, cfg: c}, found: found}
	if err := r.run(); err != nil {
		for _, s := range r.x.segs {
			s.file.Close()
		}
		if r.guardFile != nil {
			r.guardFile.Close()
		}
		return nil, Report{}, err
	}
	return r.Log, r.report, nil
}

// recovery is a log while it is being opened.
type recovery struct {
	*Log
	found  files
	guard  guard
	torn   bool // the other slot of the guard cannot be read
	seen   bool // the scan met the end of the batch that the guard names
	report Report

	tail  int64 // where the last segment stops being zeros, at least its end
	stale []uint64
}

func (r *recovery) run() (err error) {
	path := r.dir.Path(guardName)
	if r.guardFile, err = r.dir.Open(guardName); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	r.guard, r.torn, err = readGuard(r.guardFile, path, r.cfg)
	if err == ErrNoLog && len(r.found.segments) > 0 {
		return corrupt(path, "is empty")
	}
	if err != nil {
		return err
	}
	segs, err := r.expected()
	if err != nil {
		return err
	}
	for i, n := range segs {
		if err := r.segment(n, i == 0, i == len(segs)-1); err != nil {
			return err
		}
	}
	if err := r.complete(); err != nil {
		return err
	}
	return r.settle()
}

// expected compares the segments there are with those the guard asks for, and
// returns those to read.
func (r *recovery) expected() (segs []uint64, err error) {
	g := r.guard
	last := g.last
	if _, ok := slices.BinarySearch(r.found.segments, last+1); ok && r.torn && last > 0 {
		last++ // the slot that cannot be read may have asked for it
	}
	for _, n := range r.found.segments {
		switch {
		case n < g.first:
			r.stale = append(r.stale, n) // was about to be deleted
		case n == last+1:
			if err := r.unused(n); err != nil {
				return nil, err
			}
			r.stale = append(r.stale, n)
		case n > last:
			return nil, corrupt(r.dir.Path(segmentName(n)), "lies behind the last segment that the guard knows, %s", segmentName(g.last))
		default:
			segs = append(segs, n)
		}
	}
	if last == 0 {
		return nil, ErrNoLog // the second slot ever written would say more
	}
	for i, n := 0, g.first; n <= last; i, n = i+1, n+1 {
		if i == len(segs) || segs[i] != n {
			return nil, corrupt(r.dir.Path(segmentName(n)), "is missing")
		}
	}
	return segs, nil
}

// unused makes sure that a segment that the guard does not know holds no batch:
// the crash came while it was being made.
func (r *recovery) unused(n uint64) error {
	path := r.dir.Path(segmentName(n))
	f, err := r.dir.Open(segmentName(n))
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	rd := reader{file: f, end: size, chunk: 1 << 20}
	if off, err := rd.lastByte(headerSize); err != nil {
		return fmt.Errorf("wal: %w", err)
	} else if off > headerSize {
		return corrupt(path, "holds entries, but the guard does not know it")
	}
	return nil
}

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
		if _, ok := frameLength(b); !ok {
			continue
		}
		f, ok, err := rd.frame(off)
		if err != nil {
			return fmt.Errorf("wal: %w", err)
		}
		if ok && f.number > r.number+1 {
			return corrupt(seg.path, "is damaged at byte %d, before batch %d at byte %d", seg.end, f.number, off)
		}
	}
	r.report.Repaired, r.report.RepairedFile, r.report.RepairedBytes = true, seg.path, r.tail-seg.end
	return nil
}

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

// lastByte returns the offset behind the last byte from off on that is not zero,
// or off. It is rounded up to what a frame can begin at.
func (r *reader) lastByte(off int64) (int64, error) {
	last := off
	for at := off; at < r.end; at += r.chunk {
		b, err := r.bytes(at, int(r.chunk))
		if err != nil {
			return 0, err
		}
		if zero(b) {
			continue
		}
		for n := len(b) - 1; n >= 0; n-- {
			if b[n] != 0 {
				last = at + int64(n) + 1
				break
			}
		}
	}
	return align(last), nil
}
