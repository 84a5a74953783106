package snap

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nackmq/nackmq/cluster/wal"
)

// List gives the indexes of the snapshots in dir, rising.
func List(dir wal.Dir) ([]uint64, error) {
	names, err := dir.List()
	if err != nil {
		return nil, fmt.Errorf("snap: %w", err)
	}
	var out []uint64
	for _, n := range names {
		base, ok := strings.CutSuffix(n, suffix)
		if i, err := strconv.ParseUint(base, 10, 64); ok && err == nil && Name(i) == n {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out, nil
}

// A Set says what the snapshots of a directory are good for.
type Set struct {
	Base    uint64   // the oldest that the log goes on from
	Younger []uint64 // may become the base, rising
	Stale   []uint64 // left over from a compaction that was cut short
	Torn    []uint64 // were being written when the member stopped
}

// ErrNoBase: no snapshot joins the log.
var ErrNoBase = errors.New("snap: no snapshot joins the log")

// Survey says it for a log that holds the entries first to last. It reads the
// younger ones and makes them durable; that the base is whole, reading it shows.
// Snapshots that are of no use may be removed.
func Survey(dir wal.Dir, cluster, first, last uint64) (s Set, err error) {
	all, err := List(dir)
	if err != nil {
		return s, err
	}
	found := false
	for _, i := range all {
		switch {
		case i+1 < first:
			s.Stale = append(s.Stale, i)
		case !found:
			s.Base, found = i, true
		default:
			switch err := confirm(dir, i, cluster); {
			case errors.Is(err, ErrDamaged):
				s.Torn = append(s.Torn, i)
			case err != nil:
				return s, err
			case i > last:
				return s, &refusal{fmt.Sprintf("snap: %s is of entry %d, but the log ends at entry %d: put back a copy of the whole data directory if nothing was confirmed since it was made, or empty it and let the node join again under a new identity", dir.Path(Name(i)), i, last), ErrNoBase}
			default:
				s.Younger = append(s.Younger, i)
			}
		}
	}
	if !found || s.Base > last {
		return s, &refusal{fmt.Sprintf("snap: %s holds no snapshot that the log goes on from, which has the entries %d to %d: put back a copy of the whole data directory if nothing was confirmed since it was made, or empty it and let the node join again under a new identity", dir.Path("."), first, last), ErrNoBase}
	}
	if err := dir.Sync(); err != nil {
		return s, fmt.Errorf("snap: %w", err)
	}
	return s, nil
}

// RemoveBefore removes the snapshots before base, durably.
func RemoveBefore(dir wal.Dir, base uint64) error {
	all, err := List(dir)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i < base {
			if err := dir.Remove(Name(i)); err != nil {
				return fmt.Errorf("snap: %w", err)
			}
		}
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("snap: %w", err)
	}
	return nil
}
