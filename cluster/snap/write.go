package snap

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/nackmq/nackmq/cluster/wal"
)

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
	w.sync()
	w.record(0, binary.BigEndian.AppendUint64(nil, uint64(w.total)))
	w.sync()
	return w.at, w.err
}

func (w *writer) sync() {
	if w.err == nil {
		w.err = w.f.Sync()
		w.synced = w.at
	}
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
	if w.at-w.synced >= syncEvery {
		w.sync()
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
