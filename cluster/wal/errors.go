package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrNoLog is returned by Open for a directory that holds no log, or one
	// whose creation was cut short before anything could be written to it.
	ErrNoLog = errors.New("wal: the directory holds no log")
	// ErrExists is returned by Create for a directory that holds one.
	ErrExists = errors.New("wal: the directory holds a log already")
	// ErrForeign is returned by Open for a log of another cluster or node.
	ErrForeign = errors.New("wal: the log belongs to another node or cluster")
	// ErrNewer is returned by Open for a log that a newer version has written.
	ErrNewer = errors.New("wal: the log was written by a newer version")
	// ErrCompacted is returned for an entry at or before the base.
	ErrCompacted = errors.New("wal: the entry was compacted")
	// ErrUnavailable is returned for an entry behind the last one.
	ErrUnavailable = errors.New("wal: the entry is not in the log")
	// ErrGap is returned by Append for entries that do not follow each other or
	// the log. Nothing was written, and the log can be used further.
	ErrGap = errors.New("wal: the entry does not follow the one before")
	// ErrTooLarge is returned by Append for a batch above maxBatch. Nothing was
	// written, and the log can be used further.
	ErrTooLarge = errors.New("wal: the batch is larger than 1 GiB")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("wal: the log is closed")
)

// CorruptError says that something confirmed is damaged or gone. Open returns it
// before it has changed anything in the directory; reads return it when a frame
// has changed on the disk since.
type CorruptError struct {
	File   string // path of the file
	Reason string // what is wrong with it
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: %s %s: put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and let the node rejoin under a new identity", e.File, e.Reason)
}

// refusal is a whole sentence of its own that is still one of the sentinels.
type refusal struct {
	sentence string
	is       error
}

func (r *refusal) Error() string { return r.sentence }
func (r *refusal) Unwrap() error { return r.is }

func corrupt(file, reason string, args ...any) error {
	return &CorruptError{File: file, Reason: fmt.Sprintf(reason, args...)}
}
