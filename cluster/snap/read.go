package snap

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/cluster/wal"
)

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

// confirm checks the snapshot at index and makes durable that it is whole. The
// process that wrote it may have ended between its end and the sync of that, or
// after that sync failed: then the end can be read, and is on no disk. What is
// before the end was synced before the end was written.
func confirm(dir wal.Dir, index, cluster uint64) error {
	r, err := Open(dir, index, cluster)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	at := r.at - endSize
	end := make([]byte, endSize)
	if _, err := r.f.ReadAt(end, at); err != nil && err != io.EOF {
		return fmt.Errorf("snap: %w", err)
	}
	if _, err := r.f.WriteAt(end, at); err != nil {
		return fmt.Errorf("snap: %w", err)
	}
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("snap: %w", err)
	}
	return nil
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

// Load hands the body of the snapshot at index to read, and then sees to it that it
// was whole.
func Load(dir wal.Dir, index, cluster uint64, read func(io.Reader) error) (Header, error) {
	r, err := Open(dir, index, cluster)
	if err != nil {
		return Header{}, err
	}
	defer r.Close()
	if err := read(r); err != nil {
		if r.err != nil && r.err != io.EOF {
			err = r.err // the cause
		} else {
			err = damaged(r.path, fmt.Sprintf("cannot be read (%v)", err))
		}
		return Header{}, err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return Header{}, err
	}
	return r.Header, nil
}
