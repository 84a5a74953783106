package wal

import "io"

// reader reads frames of one segment, in pieces of chunk bytes.
type reader struct {
	file  File
	end   int64 // nothing is read from here on
	salt  uint32
	chunk int64
	fresh bool // each piece gets memory of its own, since entries keep it

	buf []byte
	off int64 // of buf in the file
}

// bytes returns n bytes at off, fewer at the end.
func (r *reader) bytes(off int64, n int) ([]byte, error) {
	if off >= r.end {
		return nil, nil
	}
	n = int(min(int64(n), r.end-off))
	if at := off - r.off; at >= 0 && at+int64(n) <= int64(len(r.buf)) {
		return r.buf[at : at+int64(n) : at+int64(n)], nil
	}
	size := min(max(r.chunk, int64(n)), r.end-off)
	if r.fresh || int64(cap(r.buf)) < size {
		r.buf = make([]byte, size)
	}
	r.buf, r.off = r.buf[:size], off
	k, err := r.file.ReadAt(r.buf, off)
	if err != nil && err != io.EOF {
		return nil, err
	}
	r.buf = r.buf[:k]
	return r.buf[:min(n, k)], nil
}

// frame returns the frame at off; !ok if there is no valid one.
func (r *reader) frame(off int64) (frame, bool, error) {
	b, err := r.bytes(off, frameHeader)
	if err != nil {
		return frame{}, false, err
	}
	n, ok := frameLength(b)
	if !ok {
		return frame{}, false, nil
	}
	if b, err = r.bytes(off, frameHeader+n); err != nil || len(b) < frameHeader+n {
		return frame{}, false, err
	}
	f, ok := parse(b, r.salt, off)
	return f, ok, nil
}

// lastByte returns the offset behind the last byte from off on that is not zero,
// or off. It is rounded up to what a frame can begin at.
func (r *reader) lastByte(off int64) (int64, error) {
	last := off
	for at := off; at < r.end; at += r.chunk {
		b, err := r.bytes(at, int(r.chunk))
		if err != nil {
			return 0, err
		}
		if zero(b) {
			continue
		}
		for n := len(b) - 1; n >= 0; n-- {
			if b[n] != 0 {
				last = at + int64(n) + 1
				break
			}
		}
	}
	return align(last), nil
}
