package nackproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

const testLimit = 1 << 20

// A vector is a fenced block of PROTOCOL.md: a frame's text form and its bytes,
// or the reason for which a decoder refuses them.
type vector struct {
	name  string
	text  string
	bytes []byte
}

func (v vector) refusal() (reason string, ok bool) { return strings.CutPrefix(v.text, "ERROR ") }

func readVectors(t testing.TB) []vector {
	t.Helper()
	doc, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	for _, block := range strings.Split(string(doc), "```vector ")[1:] {
		block, _, closed := strings.Cut(block, "```")
		name, rest, _ := strings.Cut(block, "\n")
		text, digits, _ := strings.Cut(rest, "\n")
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		if !closed || err != nil || len(b) == 0 {
			t.Fatalf("vector %s cannot be read: %v", name, err)
		}
		vs = append(vs, vector{name, text, b})
	}
	if len(vs) < 40 {
		t.Fatalf("PROTOCOL.md has %d vectors: are they still in fenced blocks?", len(vs))
	}
	return vs
}

// validVectors are the frames that a decoder takes.
func validVectors(t testing.TB) []vector {
	var vs []vector
	for _, v := range readVectors(t) {
		if _, bad := v.refusal(); !bad {
			vs = append(vs, v)
		}
	}
	return vs
}

func TestVectors(t *testing.T) {
	names := map[string]bool{}
	for _, v := range readVectors(t) {
		if names[v.name] {
			t.Errorf("two vectors are called %s", v.name)
		}
		names[v.name] = true
		t.Run(v.name, func(t *testing.T) {
			f, n, err := Decode(v.bytes, testLimit)
			if reason, bad := v.refusal(); bad {
				var de *DecodeError
				if !errors.As(err, &de) || !strings.Contains(err.Error(), reason) {
					t.Fatalf("got frame %v and error %v, want a DecodeError that says %q", f, err, reason)
				}
				if de.Code.MayComeBack() {
					t.Errorf("close code %v: a peer that breaks the protocol must not come back", de.Code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n != len(v.bytes) {
				t.Errorf("took %d of %d bytes", n, len(v.bytes))
			}
			if f.String() != v.text {
				t.Errorf("text\n got %s\nwant %s", f, v.text)
			}
			if got := f.AppendTo(nil); !bytes.Equal(got, v.bytes) {
				t.Errorf("encoded\n got % x\nwant % x", got, v.bytes)
			}
			if got := f.AppendTo([]byte("before")); !bytes.Equal(got, append([]byte("before"), v.bytes...)) {
				t.Errorf("encoded behind other bytes: % x", got)
			}
		})
	}
}

// A frame without a vector does not exist.
func TestEveryFrameHasAVector(t *testing.T) {
	seen := map[Type]bool{}
	for _, v := range validVectors(t) {
		if f, _, err := Decode(v.bytes, testLimit); err == nil {
			seen[f.Type()] = true
		}
	}
	for i := range 256 {
		ty := Type(i)
		known := newClientFrame(ty) != nil || newServerFrame(ty) != nil
		if known != seen[ty] {
			t.Errorf("%v: known to the decoder %v, has a vector %v", ty, known, seen[ty])
		}
		if named := !strings.HasPrefix(ty.String(), "type "); named != known {
			t.Errorf("%v: known to the decoder %v, has a name %v", ty, known, named)
		}
	}
}

func TestVectorsCutShort(t *testing.T) {
	for _, v := range validVectors(t) {
		for n := range v.bytes {
			if f, _, err := Decode(v.bytes[:n:n], testLimit); err != ErrIncomplete {
				t.Errorf("%s: %d of %d bytes give frame %v and error %v, want ErrIncomplete", v.name, n, len(v.bytes), f, err)
			}
		}
	}
}

// A body that ends early inside a frame whose length agrees is refused, or is a
// shorter frame of its own; it is never read past its end.
func TestBodiesCutShort(t *testing.T) {
	for _, v := range validVectors(t) {
		_, w := uvarint(v.bytes)
		inner := v.bytes[w:]
		for n := 1; n < len(inner); n++ {
			b := append(appendUvarint(nil, uint64(n)), inner[:n:n]...)
			f, _, err := Decode(b, testLimit)
			if err == nil && !bytes.Equal(f.AppendTo(nil), b) {
				t.Errorf("%s cut to %d bytes is taken for %v, which has other bytes", v.name, n, f)
			}
		}
	}
}

func TestVectorsByteByByte(t *testing.T) {
	var all []byte
	var want, got []string
	for _, v := range validVectors(t) {
		all = append(all, v.bytes...)
		want = append(want, v.text)
	}
	var in []byte
	for _, c := range all {
		in = append(in, c)
		f, n, err := Decode(in, testLimit)
		if err == ErrIncomplete {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.String())
		in = in[n:]
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Each end refuses what only the other may send.
func TestDirections(t *testing.T) {
	for _, v := range validVectors(t) {
		f, _, _ := Decode(v.bytes, testLimit)
		var client FromClient
		cf, n, err := client.Decode(v.bytes, testLimit)
		if _, may := f.(ClientFrame); may != (err == nil) || may && (n != len(v.bytes) || cf.String() != v.text) {
			t.Errorf("%s from a client: %v, %v", v.name, cf, err)
		}
		var server FromServer
		sf, n, err := server.Decode(v.bytes, testLimit)
		if _, may := f.(ServerFrame); may != (err == nil) || may && (n != len(v.bytes) || sf.String() != v.text) {
			t.Errorf("%s from a server: %v, %v", v.name, sf, err)
		}
	}
}
