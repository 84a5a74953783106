package wal

import "io"

// Dir is one directory as the log needs it. Names are plain file names. An
// implementation is used by one log at a time.
type Dir interface {
	// Path is the path of a file for people: it stands in errors.
	Path(name string) string
	// List returns the names of all files, in any order.
	List() ([]string, error)
	// Create makes a file of size bytes that read as zeros, with its space
	// allocated if the file system can. It is an error if it exists.
	Create(name string, size int64) (File, error)
	// Open opens a file to read and write it.
	Open(name string) (File, error)
	Remove(name string) error
	// Sync makes what Create and Remove did durable.
	Sync() error
}

// File is one file of a Dir. WriteAt behind the end extends the file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	// Sync returns when the file's bytes, and the length needed to read them, are
	// on the disk. After an error nothing is known of what was written since the
	// last success.
	Sync() error
	// Flush begins what Sync does, without waiting and without promise.
	Flush() error
	Close() error
}
