package wal

import (
	"errors"
	"fmt"
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
