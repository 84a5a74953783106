package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// OSDir is a directory of the operating system. It holds a lock on it, so that a
// second process that is given the same directory is refused.
type OSDir struct {
	path string
	dir  *os.File
}

// ErrInUse is returned by OpenDir for a directory that a process has open.
var ErrInUse = errors.New("wal: the directory is in use by another process")

// OpenDir makes the directory if need be and locks it until Close.
func OpenDir(path string) (*OSDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	d, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	if err := lock(d); err != nil {
		d.Close()
		return nil, &refusal{fmt.Sprintf("wal: %s is in use by another process: stop it, or give this node its own directory", path), ErrInUse}
	}
	return &OSDir{path: path, dir: d}, nil
}

// Close gives the lock back. The log on it must be closed before.
func (d *OSDir) Close() error { return d.dir.Close() }

func (d *OSDir) Path(name string) string { return filepath.Join(d.path, name) }

func (d *OSDir) List() ([]string, error) {
	es, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(es))
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d *OSDir) Create(name string, size int64) (File, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := allocate(f, size); err != nil {
		f.Close()
		os.Remove(d.Path(name)) // give the space back; if this fails Open removes the file
		return nil, &os.PathError{Op: "allocate", Path: d.Path(name), Err: err}
	}
	return osFile{f}, nil
}

func (d *OSDir) Open(name string) (File, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *OSDir) Remove(name string) error { return os.Remove(d.Path(name)) }
func (d *OSDir) Sync() error              { return d.dir.Sync() }

type osFile struct{ *os.File }

func (f osFile) Sync() error  { return datasync(f.File) }
func (f osFile) Flush() error { return flush(f.File) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
