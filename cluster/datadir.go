package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nackmq/nackmq/cluster/snap"
	"github.com/nackmq/nackmq/cluster/store"
	"github.com/nackmq/nackmq/cluster/wal"
)

// ErrDataDir is what the refusal of a data directory is.
var ErrDataDir = errors.New("cluster: the data directory cannot be used")

// refusal is a sentence for people.
type refusal struct {
	sentence string
	cause    error
}

func (r *refusal) Error() string   { return r.sentence }
func (r *refusal) Unwrap() []error { return []error{ErrDataDir, r.cause} }

func refuse(cause error, format string, args ...any) error {
	return &refusal{fmt.Sprintf("cluster: "+format, args...), cause}
}

const (
	lockFile = "LOCK"
	logDir   = "log"
	snapDir  = "snap"
)

// dataDir is a data directory that this process has for itself.
type dataDir struct {
	path string
	lock *os.File
	id   identity

	log, snap           wal.Dir
	closeLog, closeSnap func() error
}

// openDataDir locks the directory, reads who the member is or makes a new one,
// and counts this start.
func openDataDir(c *Config) (d *dataDir, fresh bool, err error) {
	d = &dataDir{path: c.DataDir}
	held := d // a return that fails sets d to nil
	defer func() {
		if err != nil {
			held.close()
		}
	}()
	if err := d.takeLock(); err != nil {
		return nil, false, err
	}
	if fresh, err = d.identify(); err != nil {
		return nil, false, err
	}
	if d.log, d.closeLog, err = c.openDir(filepath.Join(d.path, logDir)); err != nil {
		return nil, false, d.explain(err, filepath.Join(d.path, logDir))
	}
	if d.snap, d.closeSnap, err = c.openDir(filepath.Join(d.path, snapDir)); err != nil {
		return nil, false, d.explain(err, filepath.Join(d.path, snapDir))
	}
	return d, fresh, nil
}

func (d *dataDir) takeLock() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		if st, serr := os.Stat(d.path); serr == nil && !st.IsDir() || errors.Is(err, syscall.ENOTDIR) {
			return refuse(err, "%s is not a directory: name another data directory", d.path)
		}
		return d.explain(err, d.path)
	}
	path := filepath.Join(d.path, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return d.explain(err, path)
	}
	d.lock = f
	if err := flock(f); err != nil {
		who := "another process"
		if b, rerr := io.ReadAll(io.LimitReader(f, 32)); rerr == nil && len(b) > 0 {
			who = "process " + strings.TrimSpace(string(b))
		}
		return refuse(err, "%s is in use by %s: stop it, or name another data directory", d.path, who)
	}
	if err := f.Truncate(0); err != nil {
		return d.explain(err, path)
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return d.explain(err, path)
	}
	return nil
}

// identify reads node.json. Without one the directory must be empty: then it is a
// first start. A first start that did not come to its end is begun again, since
// nothing was confirmed in it.
func (d *dataDir) identify() (fresh bool, err error) {
	path := filepath.Join(d.path, nodeFile)
	d.id, err = readIdentity(path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, sub := range []string{logDir, snapDir} {
			es, err := os.ReadDir(filepath.Join(d.path, sub))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, d.explain(err, filepath.Join(d.path, sub))
			}
			if len(es) > 0 {
				return false, refuse(fs.ErrNotExist, "%s is missing, but %s holds %s: put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and start with nothing",
					path, filepath.Join(d.path, sub), es[0].Name())
			}
		}
		d.id = newIdentity()
		if err := d.id.write(path); err != nil {
			return false, d.explain(err, path)
		}
	} else if err != nil {
		return false, err
	}
	if d.id.Life > 0 {
		for _, sub := range []string{logDir, snapDir} {
			sub = filepath.Join(d.path, sub)
			if st, err := os.Stat(sub); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
				return false, refuse(fs.ErrNotExist, "%s is missing, but %s is there: put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and start with nothing", sub, path)
			}
		}
		return false, nil
	}
	for _, sub := range []string{logDir, snapDir} {
		if err := os.RemoveAll(filepath.Join(d.path, sub)); err != nil {
			return false, d.explain(err, filepath.Join(d.path, sub))
		}
	}
	return true, nil
}

// beginLife counts a start. It must be durable before the engine numbers a batch.
func (d *dataDir) beginLife() error {
	d.id.Life++
	path := filepath.Join(d.path, nodeFile)
	if err := d.id.write(path); err != nil {
		return d.explain(err, path)
	}
	return nil
}

// explain makes one sentence of what the operating system or the store said of path.
func (d *dataDir) explain(err error, path string) error {
	if se := (*store.Error)(nil); errors.As(err, &se) {
		path, err = se.Path, se.Err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		path = pe.Path
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return refuse(err, "there is no space left for %s: make room, then start again", path)
	case errors.Is(err, syscall.EROFS):
		return refuse(err, "%s is on a read-only file system: mount it writable, or name another data directory", path)
	case errors.Is(err, fs.ErrPermission):
		return refuse(err, "%s may not be written by this user: give it the directory, or name another data directory", path)
	case errors.Is(err, syscall.ENOTDIR):
		return refuse(err, "%s is not a directory: name another data directory", path)
	case errors.Is(err, wal.ErrNoLog):
		return refuse(err, "%s holds no log, but %s is there: put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and start with nothing",
			path, filepath.Join(d.path, nodeFile))
	case errors.Is(err, wal.ErrInUse), errors.Is(err, wal.ErrForeign), errors.Is(err, wal.ErrNewer),
		errors.Is(err, snap.ErrDamaged), errors.Is(err, snap.ErrNewer), errors.Is(err, snap.ErrForeign), errors.Is(err, snap.ErrNoBase):
		return &refusal{err.Error(), err}
	}
	var ce *wal.CorruptError
	if errors.As(err, &ce) {
		return &refusal{err.Error(), err}
	}
	return refuse(err, "%s cannot be used: %v", path, err)
}

// close gives everything back; the lock last.
func (d *dataDir) close() error {
	var errs []error
	for _, c := range []func() error{d.closeLog, d.closeSnap} {
		if c != nil {
			errs = append(errs, c())
		}
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}
