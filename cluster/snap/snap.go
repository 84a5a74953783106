// Package snap is the snapshot file: what a machine was at one entry of the log,
// with the members at that entry. It is pure over a wal.Dir.
//
// A file is written under its own name and needs no renaming: it is whole when
// its last record, the end, is. One that was cut short is of no use to anybody
// and is removed at the next start; a snapshot is read back and checked before
// anything that it replaces is deleted.
//
// Layout, all integers big-endian, sums CRC-32C:
//
//	header   magic "NACKSNAP" | format u32 | cluster u64 | index u64 | term u64 |
//	         n u32 | n bytes of ConfState (protobuf) | sum u32 of all before
//	chunk    n u32, 1 to maxChunk | sum u32 | n bytes
//	…
//	end      0 u32 | sum u32 | bytes in all chunks u64
//
// Each sum goes on from the one before, so that chunks cannot change places.
package snap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/cluster/wal"
)

const (
	magic    = "NACKSNAP"
	format   = 1
	fixed    = len(magic) + 4 + 3*8 + 4
	maxChunk = 256 << 10
	maxConf  = 1 << 20
	suffix   = ".snap"

	// syncEvery spreads the writing of a large snapshot, so that its end is not
	// one sync that makes the log's syncs wait.
	syncEvery = 4 << 20
)

var sums = crc32.MakeTable(crc32.Castagnoli)

// Header says what a snapshot is of.
type Header struct {
	Cluster     uint64
	Index, Term uint64
	Conf        *pb.ConfState
}

var (
	// ErrDamaged: the file is not what was written.
	ErrDamaged = errors.New("snap: damaged")
	// ErrNewer: a newer version wrote it.
	ErrNewer = errors.New("snap: newer format")
	// ErrForeign: it is of another cluster.
	ErrForeign = errors.New("snap: another cluster")
)

// refusal is a sentence for people that is still one of the errors above.
type refusal struct {
	sentence string
	is       error
}

func (r *refusal) Error() string { return r.sentence }
func (r *refusal) Unwrap() error { return r.is }

func damaged(path, what string) error {
	return &refusal{fmt.Sprintf("snap: %s %s: restore the whole data directory from a copy, or empty it and let the node join again under a new identity", path, what), ErrDamaged}
}

// Name gives the file name of the snapshot at index.
func Name(index uint64) string { return fmt.Sprintf("%020d%s", index, suffix) }

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

// Write makes a snapshot durable and checks it. It gives the size of the file. If
// it fails then it leaves no file, if it can.
func Write(dir wal.Dir, h Header, body io.WriterTo) (size int64, err error) {
	name := Name(h.Index)
	if old, err := List(dir); err != nil {
		return 0, err
	} else if slices.Contains(old, h.Index) {
		if err := dir.Remove(name); err != nil {
			return 0, fmt.Errorf("snap: %w", err)
		}
	}
	f, err := dir.Create(name, int64(fixed))
	if err != nil {
		return 0, fmt.Errorf("snap: %w", err)
	}
	size, err = write(f, h, body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = dir.Sync()
	}
	if err == nil {
		err = Check(dir, h.Index, h.Cluster)
	}
	if err != nil {
		_ = dir.Remove(name) // what stays is removed at the next start
		return 0, fmt.Errorf("snap: %s: %w", dir.Path(name), err)
	}
	return size, nil
}

func write(f wal.File, h Header, body io.WriterTo) (int64, error) {
	w := &writer{f: f}
	conf, err := proto.Marshal(h.Conf)
	if err != nil {
		return 0, err
	}
	b := append([]byte(nil), magic...)
	b = binary.BigEndian.AppendUint32(b, format)
	b = binary.BigEndian.AppendUint64(b, h.Cluster)
	b = binary.BigEndian.AppendUint64(b, h.Index)
	b = binary.BigEndian.AppendUint64(b, h.Term)
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	b = append(b, conf...)
	w.sum = crc32.Checksum(b, sums)
	w.put(binary.BigEndian.AppendUint32(b, w.sum))
	if w.err == nil {
		if _, err := body.WriteTo(w); w.err == nil {
			w.err = err
		}
	}
	w.flush()
	total := binary.BigEndian.AppendUint64(nil, uint64(w.total))
	w.record(0, total)
	if w.err == nil {
		w.err = f.Sync()
	}
	return w.at, w.err
}

// writer cuts what is written to it into chunks.
type writer struct {
	f      wal.File
	at     int64
	synced int64
	sum    uint32
	total  int64
	buf    []byte
	err    error
}

func (w *writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		k := min(len(p), maxChunk-len(w.buf))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
		if len(w.buf) == maxChunk {
			w.flush()
		}
	}
	return n - len(p), w.err
}

func (w *writer) flush() {
	if len(w.buf) == 0 {
		return
	}
	w.total += int64(len(w.buf))
	w.record(uint32(len(w.buf)), w.buf)
	w.buf = w.buf[:0]
	if w.err == nil && w.at-w.synced >= syncEvery {
		w.err = w.f.Sync()
		w.synced = w.at
	}
}

func (w *writer) record(n uint32, data []byte) {
	head := binary.BigEndian.AppendUint32(nil, n)
	w.sum = crc32.Update(crc32.Update(w.sum, sums, head), sums, data)
	w.put(append(binary.BigEndian.AppendUint32(head, w.sum), data...))
}

func (w *writer) put(b []byte) {
	if w.err != nil {
		return
	}
	var n int
	n, w.err = w.f.WriteAt(b, w.at)
	if w.err == nil && n < len(b) {
		w.err = io.ErrShortWrite
	}
	w.at += int64(n)
}

// Check reads the snapshot at index to its end.
func Check(dir wal.Dir, index, cluster uint64) error {
	r, err := Open(dir, index, cluster)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// A Reader reads the body of a snapshot. Every byte that it gives was checked;
// io.EOF comes only after the end was.
type Reader struct {
	Header Header

	f     wal.File
	path  string
	at    int64
	sum   uint32
	total int64
	chunk []byte
	err   error
}

// Open opens the snapshot at index and reads its header. The errors wrap
// ErrDamaged, ErrNewer or ErrForeign if it is not one that can be used.
func Open(dir wal.Dir, index, cluster uint64) (*Reader, error) {
	r := &Reader{path: dir.Path(Name(index))}
	var err error
	if r.f, err = dir.Open(Name(index)); err != nil {
		return nil, fmt.Errorf("snap: %w", err)
	}
	if err := r.header(index, cluster); err != nil {
		r.f.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) header(index, cluster uint64) error {
	b, err := r.take(fixed)
	if err != nil {
		return err
	}
	if string(b[:len(magic)]) != magic {
		return damaged(r.path, "is not a snapshot")
	}
	p := b[len(magic):]
	if v := binary.BigEndian.Uint32(p); v > format {
		return &refusal{fmt.Sprintf("snap: %s has format %d and this version reads up to %d: start the version that wrote it, or a newer one", r.path, v, format), ErrNewer}
	}
	r.Header = Header{
		Cluster: binary.BigEndian.Uint64(p[4:]),
		Index:   binary.BigEndian.Uint64(p[12:]),
		Term:    binary.BigEndian.Uint64(p[20:]),
		Conf:    new(pb.ConfState),
	}
	n := binary.BigEndian.Uint32(p[28:])
	if n > maxConf {
		return damaged(r.path, "has a damaged header")
	}
	conf, err := r.take(int(n) + 4)
	if err != nil {
		return err
	}
	r.sum = crc32.Update(crc32.Checksum(b, sums), sums, conf[:n])
	if binary.BigEndian.Uint32(conf[n:]) != r.sum || proto.Unmarshal(conf[:n], r.Header.Conf) != nil {
		return damaged(r.path, "has a damaged header")
	}
	if r.Header.Index != index {
		return damaged(r.path, fmt.Sprintf("is of entry %d, which its name does not say", r.Header.Index))
	}
	if r.Header.Cluster != cluster {
		return &refusal{fmt.Sprintf("snap: %s belongs to cluster %016x and this node to %016x: give the node its own data directory", r.path, r.Header.Cluster, cluster), ErrForeign}
	}
	return nil
}

// take reads n bytes; less is damage.
func (r *Reader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	k, err := r.f.ReadAt(b, r.at)
	r.at += int64(k)
	switch {
	case k == n:
		return b, nil
	case err == io.EOF:
		return nil, damaged(r.path, "is cut short")
	}
	return nil, fmt.Errorf("snap: %w", err)
}

func (r *Reader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 && r.err == nil {
		r.err = r.next()
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *Reader) next() error {
	head, err := r.take(8)
	if err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head)
	if n > maxChunk {
		return damaged(r.path, fmt.Sprintf("is damaged at byte %d", r.at-8))
	}
	size := int(n)
	if n == 0 {
		size = 8
	}
	data, err := r.take(size)
	if err != nil {
		return err
	}
	r.sum = crc32.Update(crc32.Update(r.sum, sums, head[:4]), sums, data)
	if binary.BigEndian.Uint32(head[4:]) != r.sum {
		return damaged(r.path, fmt.Sprintf("is damaged at byte %d", r.at-int64(size)-8))
	}
	if n > 0 {
		r.total += int64(n)
		r.chunk = data
		return nil
	}
	if binary.BigEndian.Uint64(data) != uint64(r.total) {
		return damaged(r.path, "has a damaged end")
	}
	return io.EOF
}

// Close closes the file.
func (r *Reader) Close() error { return r.f.Close() }
