package stream

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var fullProps = Props{
	PayloadFormat:   FormatText,
	ContentType:     "text/plain",
	ResponseSubject: "/answers/7",
	CorrelationData: []byte{0, 1, 2},
	User:            []UserProperty{{"b", "2"}, {"a", ""}, {"", "x"}, {"b", "2"}},
}

func TestPropsRoundTrip(t *testing.T) {
	for name, p := range map[string]Props{
		"nothing":        {},
		"bytes":          {PayloadFormat: FormatBytes},
		"text":           {PayloadFormat: FormatText},
		"content type":   {ContentType: "application/json"},
		"response":       {ResponseSubject: "//"},
		"correlation":    {CorrelationData: []byte("\x00")},
		"empty type":     {EmptyType: true},
		"empty data":     {CorrelationData: []byte{}},
		"long value":     {User: []UserProperty{{"k", strings.Repeat("v", 70000)}}},
		"everything":     fullProps,
		"repeated pairs": {User: []UserProperty{{"", ""}, {"", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := AppendProps(nil, &p)
			got, err := ParseProps(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(got, p); d != "" {
				t.Errorf("parsed and given differ (-got +want):\n%s", d)
			}
			if got.IsZero() != (len(b) == 0) {
				t.Errorf("IsZero is %v, encoding has %d bytes: only nothing is encoded as nothing", got.IsZero(), len(b))
			}
		})
	}
}

func TestPropsCutShort(t *testing.T) {
	whole := AppendProps(nil, &fullProps)
	for n := range whole {
		p, err := ParseProps(whole[:n])
		if err == nil && !bytes.Equal(AppendProps(nil, &p), whole[:n]) {
			t.Errorf("%d of %d bytes are read as something else", n, len(whole))
		}
		if err != nil && !errors.Is(err, ErrProps) {
			t.Errorf("%d of %d bytes: error %v does not wrap ErrProps", n, len(whole), err)
		}
	}
}

func TestPropsRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"field 0":           {"\x00", "field 0"},
		"unknown field":     {"\x06\x00", "unknown field 6"},
		"falling tags":      {"\x02\x01a\x01\x00", "field 1 after field 2"},
		"format twice":      {"\x01\x00\x01\x00", "field 1 after field 1"},
		"format 2":          {"\x01\x02", "neither 0 nor 1"},
		"format missing":    {"\x01", "neither 0 nor 1"},
		"empty response":    {"\x03\x00", "leave it out"},
		"U+0000":            {"\x02\x01\x00", "U+0000"},
		"broken UTF-8":      {"\x05\x01\xff\x00", "not UTF-8"},
		"long length":       {"\x02\x81\x00a", "longer than need be"},
		"endless length":    {"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short"},
		"huge length":       {"\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut short"},
		"response wildcard": {"\x03\x02/+", "only a filter"},
		"response topic":    {"\x03\x01a", `must begin with "/"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseProps([]byte(tc.in))
			if !errors.Is(err, ErrProps) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrProps that says %q", err, tc.want)
			}
		})
	}
}

func FuzzProps(f *testing.F) {
	f.Add(AppendProps(nil, &fullProps))
	f.Add([]byte("\x01\x01\x03\x02/a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProps(b)
		if err != nil {
			return
		}
		if again := AppendProps(nil, &p); !bytes.Equal(again, b) {
			t.Errorf("parsed %x, appended %x: bytes that are taken have one form", b, again)
		}
	})
}
