package nackproto

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nackmq/nackmq/stream"
)

const testEpoch = stream.Epoch(0x00c0ffee00c0ffee)

// The promise of PROTOCOL.md §5.10.
func TestMessageIsSmall(t *testing.T) {
	payload := make([]byte, 64)
	for _, a := range []Alias{1, 127, 128, 1 << 14, 1 << 21, 1<<28 - 1} {
		if n := len(AppendMessage(nil, a, 1<<40, payload)); n > 72 {
			t.Errorf("alias %d: %d bytes for 64 bytes of payload, want at most 72", a, n)
		}
	}
}

func TestLongFrames(t *testing.T) {
	for _, n := range []int{0x7d, 0x7e, 0x7f, 0x3ffd, 0x3ffe, 0x3fff, 0x4000, 70000} {
		for _, f := range []Frame{
			&Publish{Number: 1, Alias: 1, Payload: make([]byte, n)},
			&Message{Alias: 1, Payload: make([]byte, n)},
			&Subscribe{Filter: "/" + strings.Repeat("a", min(n, stream.MaxSubject-1))},
		} {
			b := f.AppendTo([]byte{0xee})[1:]
			g, w, err := Decode(b, testLimit)
			if err != nil || w != len(b) || g.String() != f.String() || !bytes.Equal(g.AppendTo(nil), b) {
				t.Errorf("%v of %d bytes: took %d of %d, error %v", f.Type(), n, w, len(b), err)
			}
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	payload := make([]byte, 64)
	buf := make([]byte, 0, 1024)
	m := stream.Message{Publication: stream.Publication{Payload: payload}, Position: stream.Position{Epoch: testEpoch, Seq: 9}, Index: 12, ID: 3}
	publish := (&Publish{Number: 1, Alias: 1, Payload: payload}).AppendTo(nil)
	var fs FromServer
	var fc FromClient
	for name, f := range map[string]func(){
		"encode MESSAGE":   func() { AppendMessage(buf[:0], 7, 42, payload) },
		"encode MESSAGE_X": func() { AppendMessageX(buf[:0], &m, false) },
		"decode MESSAGE":   func() { fs.Decode(AppendMessage(buf[:0], 7, 42, payload), testLimit) },
		"decode MESSAGE_X": func() { fs.Decode(AppendMessageX(buf[:0], &m, false), testLimit) },
		"decode PUBLISH":   func() { fc.Decode(publish, testLimit) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func TestConfirmAddMergesRuns(t *testing.T) {
	at := func(s stream.Seq) stream.Position { return stream.Position{Epoch: testEpoch, Seq: s} }
	c := Confirm{Number: 5}
	c.Add(Placed, at(41), 0)
	c.Add(Placed, at(42), 0)
	c.Add(Placed, at(44), 0) // another publisher was between
	c.Add(Placed, stream.Position{}, 0)
	c.Add(Placed, stream.Position{}, 0)
	c.Add(TooLarge, stream.Position{}, 0)
	c.Add(NoQuorum, stream.Position{}, time.Second)
	c.Add(NoQuorum, stream.Position{}, time.Second)
	want := "CONFIRM number=5 2xPLACED@00c0ffee00c0ffee:41 1xPLACED@00c0ffee00c0ffee:44 2xPLACED 1xTOO_LARGE 2xNO_QUORUM retry=1s"
	if got := c.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCloseCutsItsReason(t *testing.T) {
	for _, reason := range []string{strings.Repeat("é", 200), strings.Repeat("a", 300), "broken \xff", "a\x00b"} {
		f, _, err := Decode((&Close{Reason: reason}).AppendTo(nil), testLimit)
		if err != nil {
			t.Errorf("%.20q…: %v", reason, err)
		} else if got := f.(*Close).Reason; len(got) < len(reason)/2 {
			t.Errorf("%.20q…: only %d bytes are left", reason, len(got))
		}
	}
}

func TestHelloHidesItsToken(t *testing.T) {
	if s := (&Hello{Lowest: 1, Highest: 1, Token: "geheim"}).String(); strings.Contains(s, "geheim") {
		t.Errorf("%s shows the token", s)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, n, err := Decode(b, testLimit)
		if err != nil {
			return
		}
		if again := fr.AppendTo(nil); !bytes.Equal(again, b[:n]) {
			t.Errorf("%v\n from % x\n gives % x: a frame that is taken has one form", fr, b[:n], again)
		}
		_ = fr.String()
	})
}

func BenchmarkAppendMessage(b *testing.B) {
	payload, buf := make([]byte, 64), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendMessage(buf[:0], 300, 42, payload)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	in := AppendMessage(nil, 300, 42, make([]byte, 64))
	var d FromServer
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Decode(in, testLimit); err != nil {
			b.Fatal(err)
		}
	}
}

// A decoding error names the frame and the field as PROTOCOL.md does.
func TestDecodeErrorNamesTheField(t *testing.T) {
	want := map[string]string{
		"bad-mark-count":        "SUBSCRIBE: marks: body is cut short",
		"bad-mark-epoch":        "SUBSCRIBE: marks: epoch is zero",
		"bad-text":              "CLOSE: reason: string is not UTF-8 without U+0000",
		"bad-publish-flags":     "PUBLISH: flags: unknown flags",
		"bad-confirm-run":       "CONFIRM: runs: run is empty",
		"bad-heartbeat-top":     "HEARTBEAT: tops: body is cut short",
		"bad-message-short":     "MESSAGE: seq: body is cut short",
		"bad-trailing":          "UNSUBSCRIBE: trailing bytes",
		"bad-reset-reason":      "RESET: reason: unknown reason",
		"bad-integer-long-form": "UNSUBSCRIBE: sub: integer is not a shortest uvarint",
	}
	for _, v := range readVectors(t) {
		text, is := want[v.name]
		if !is {
			continue
		}
		delete(want, v.name)
		_, _, err := Decode(v.bytes, testLimit)
		var de *DecodeError
		if !errors.As(err, &de) || de.Sentence() != text {
			t.Errorf("%s: %v, want %s", v.name, err, text)
		}
	}
	if len(want) > 0 {
		t.Errorf("no vectors %v", want)
	}
}
