package wal

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// MemDir is a directory in memory that fails as disks do, for tests and the
// simulator. It knows what was written (what reads give back) and what would be
// found after a power loss, by sectors of 512 bytes:
//
//   - Between a write and the next Sync of its file a sector may reach the disk at
//     any time or not at all, each for itself and in any order.
//   - A write within one sector happens as a whole or not at all.
//   - What Create and Remove did may be undone until the directory's Sync.
//   - After a failed Sync reads still give back what was written, but no later
//     Sync brings it to the disk unless it is written again, as under Linux.
//
// It asks r for all that is left to chance, and nothing else, so equal draws and
// equal calls give equal contents. It belongs to one goroutine.
type MemDir struct {
	// OnWrite, if set, is asked before n bytes are written at off. It returns how
	// many may be; fewer than n, or an error, is a write that fails half way.
	OnWrite func(name string, off int64, n int) (int, error)
	// OnSync, if set, is asked before a file is synced, or the directory with an
	// empty name. An error is a sync that fails.
	OnSync func(name string) error
	// OnMake, if set, is asked before a file is created, or removed.
	OnMake func(name string) error
	// Space is how many bytes all files may have together; 0: any number.
	Space int64

	r     Random
	life  int                 // handles of an earlier one are dead
	names map[string]*memFile // as a running process sees them
	disk  map[string]*memFile // as they are after a power loss
}

// Random is where a MemDir draws from; *rand.PCG of math/rand/v2 is one.
type Random interface{ Uint64() uint64 }

var (
	// ErrNoSpace is a MemDir's error when Space is used up.
	ErrNoSpace = errors.New("no space left on device")
	// ErrGone is given by a handle that a Kill or Crash has outlived.
	ErrGone = errors.New("the process that opened the file is gone")
)

const sector = 512

type sectorState uint8

const (
	clean sectorState = iota // the disk has it
	dirty                    // the disk may get it
	lost                     // a sync failed: the disk never gets it, though it can be read
)

// memFile: slices end with the last byte written and read as zeros behind it.
type memFile struct {
	size, diskSize int64
	data, disk     []byte
	state          []sectorState
}

// NewMemDir makes an empty directory.
func NewMemDir(r Random) *MemDir {
	return &MemDir{r: r, names: make(map[string]*memFile), disk: make(map[string]*memFile)}
}

// Kill ends the process: handles die, what was written stays as it is.
func (d *MemDir) Kill() { d.life++ }

// Crash takes the power away: of what was not synced, any part is there.
func (d *MemDir) Crash() {
	d.life++
	for _, name := range union(d.names, d.disk) { // in order, for the draws
		now, before := d.names[name], d.disk[name]
		if now != before && d.coin() { // the name's change reached the disk
			before = now
		}
		if before == nil {
			delete(d.names, name)
			delete(d.disk, name)
			continue
		}
		d.names[name], d.disk[name] = before, before
	}
	for _, name := range union(d.names, nil) {
		f := d.names[name]
		d.settle(f)
		f.data = slices.Clone(f.disk)
		f.size = f.diskSize
		clear(f.state)
	}
}

// settle draws what of a file's dirty sectors is on the disk.
func (d *MemDir) settle(f *memFile) {
	if f.size != f.diskSize && d.coin() {
		f.diskSize = f.size
	}
	for i, st := range f.state {
		if st == dirty && d.coin() {
			f.write(i)
		}
	}
}

func (d *MemDir) coin() bool { return d.r.Uint64()>>63 == 1 }

// Bytes returns a copy of a file, nil if there is none.
func (d *MemDir) Bytes(name string) []byte {
	f := d.names[name]
	if f == nil {
		return nil
	}
	b := make([]byte, f.size)
	copy(b, f.data)
	return b
}

// SetBytes replaces a file or makes it, as damage does: in memory and on the disk.
func (d *MemDir) SetBytes(name string, b []byte) {
	f := &memFile{size: int64(len(b)), diskSize: int64(len(b)), data: slices.Clone(b), disk: slices.Clone(b)}
	f.state = make([]sectorState, (len(b)+sector-1)/sector)
	d.names[name], d.disk[name] = f, f
}

func (d *MemDir) Path(name string) string { return "mem/" + name }

func (d *MemDir) List() ([]string, error) { return union(d.names, nil), nil }

func (d *MemDir) Create(name string, size int64) (File, error) {
	if d.names[name] != nil {
		return nil, fmt.Errorf("%s exists", name)
	}
	if d.OnMake != nil {
		if err := d.OnMake(name); err != nil {
			return nil, err
		}
	}
	if err := d.room(size); err != nil {
		return nil, err
	}
	f := &memFile{size: size}
	d.names[name] = f
	return &memHandle{d, name, f, d.life}, nil
}

func (d *MemDir) Open(name string) (File, error) {
	f := d.names[name]
	if f == nil {
		return nil, fmt.Errorf("%s does not exist", name)
	}
	return &memHandle{d, name, f, d.life}, nil
}

func (d *MemDir) Remove(name string) error {
	if d.names[name] == nil {
		return fmt.Errorf("%s does not exist", name)
	}
	if d.OnMake != nil {
		if err := d.OnMake(name); err != nil {
			return err
		}
	}
	delete(d.names, name)
	return nil
}

func (d *MemDir) Sync() error {
	if d.OnSync != nil {
		if err := d.OnSync(""); err != nil {
			return err
		}
	}
	clear(d.disk)
	for name, f := range d.names {
		d.disk[name] = f
	}
	return nil
}

func (d *MemDir) room(more int64) error {
	for _, f := range d.names {
		more += f.size
	}
	if d.Space > 0 && more > d.Space {
		return ErrNoSpace
	}
	return nil
}

// memHandle is an open file.
type memHandle struct {
	d    *MemDir
	name string
	f    *memFile
	life int
}

func (h *memHandle) alive() error {
	if h.life != h.d.life {
		return ErrGone
	}
	return nil
}

func (h *memHandle) Size() (int64, error) { return h.f.size, h.alive() }
func (h *memHandle) Close() error         { return nil }

func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	if err := h.alive(); err != nil {
		return 0, err
	}
	n := int(max(0, min(int64(len(b)), h.f.size-off)))
	clear(b[:n])
	if off < int64(len(h.f.data)) {
		copy(b[:n], h.f.data[off:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(b []byte, off int64) (n int, err error) {
	if err := h.alive(); err != nil {
		return 0, err
	}
	n = len(b)
	if h.d.OnWrite != nil {
		if n, err = h.d.OnWrite(h.name, off, n); n > len(b) {
			n = len(b)
		}
		if n < len(b) && off/sector == (off+int64(len(b))-1)/sector {
			n = 0
		}
	}
	if more := off + int64(n) - h.f.size; more > 0 {
		if full := h.d.room(more); full != nil {
			n, err = int(max(0, h.f.size-off)), full
		} else {
			h.f.size += more
		}
	}
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if n == 0 {
		return 0, err
	}
	end := off + int64(n)
	h.f.data = grow(h.f.data, end)
	h.f.state = grow(h.f.state, (end+sector-1)/sector)
	for i := off / sector; i*sector < end; i++ {
		if h.f.state[i] == dirty && h.d.coin() {
			h.f.write(int(i)) // the kernel wrote the sector as it was before
		}
		h.f.state[i] = dirty
	}
	copy(h.f.data[off:], b[:n])
	return n, err
}

func (h *memHandle) Sync() error {
	if err := h.alive(); err != nil {
		return err
	}
	if h.d.OnSync != nil {
		if err := h.d.OnSync(h.name); err != nil {
			h.d.settle(h.f)
			for i, st := range h.f.state {
				if st == dirty {
					h.f.state[i] = lost
				}
			}
			return err
		}
	}
	h.f.diskSize = h.f.size
	for i, st := range h.f.state {
		if st == dirty {
			h.f.write(i)
		}
	}
	return nil
}

// Flush lets any part reach the disk.
func (h *memHandle) Flush() error {
	if err := h.alive(); err != nil {
		return err
	}
	h.d.settle(h.f)
	return nil
}

// write brings sector i to the disk.
func (f *memFile) write(i int) {
	lo, hi := i*sector, min((i+1)*sector, len(f.data))
	f.disk = grow(f.disk, int64(hi))
	copy(f.disk[lo:hi], f.data[lo:hi])
	f.state[i] = clean
}

func grow[T any](s []T, n int64) []T {
	if more := n - int64(len(s)); more > 0 {
		s = append(s, make([]T, more)...)
	}
	return s
}

// union returns the keys of both, sorted.
func union(a, b map[string]*memFile) []string {
	var names []string
	for n := range a {
		names = append(names, n)
	}
	for n := range b {
		if a[n] == nil {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}
