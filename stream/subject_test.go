package stream

import (
	"errors"
	"strings"
	"testing"
)

func TestParseSubject(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"plain", "/sensor/temp", true},
		{"leading slash of MQTT", "//sensor/temp", true},
		{"only empty segments", "//", true},
		{"empty segment inside", "/a//b", true},
		{"trailing slash", "/a/", true},
		{"control characters and spaces", "/a b/\x01", true},
		{"dollar", "/$SYS/x", true},
		{"longest", "/" + strings.Repeat("x", 65535), true},
		{"too long", "/" + strings.Repeat("x", 65536), false},
		{"empty", "", false},
		{"nothing behind the slash", "/", false},
		{"no slash", "sensor/temp", false},
		{"plus", "/a/+", false},
		{"hash inside a segment", "/a#b", false},
		{"U+0000", "/a\x00b", false},
		{"broken UTF-8", "/a\xff", false},
		{"surrogate", "/\xed\xa0\x80", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSubject(tt.in)
			if tt.ok != (err == nil) {
				t.Fatalf("ParseSubject(%.20q) = %v, want ok %v", tt.in, err, tt.ok)
			}
			if tt.ok && string(s) != tt.in {
				t.Errorf("got %q: a subject is its bytes, nothing is repaired", s)
			}
			if err != nil && (!errors.Is(err, ErrSubject) || len(err.Error()) > 300) {
				t.Errorf("error %q: want a short one that wraps ErrSubject", err)
			}
		})
	}
}

func TestParseFilter(t *testing.T) {
	for in, ok := range map[string]bool{
		"/#": true, "/+": true, "/a/+/b": true, "/a/#": true, "//#": true, "/+/+/#": true, "/a": true,
		"/a+": false, "/+a": false, "/a#": false, "/#/a": false, "/a/#/": false, "#": false, "": false, "/": false, "/a\x00": false,
	} {
		if _, err := ParseFilter(in); ok != (err == nil) {
			t.Errorf("ParseFilter(%q) = %v, want ok %v", in, err, ok)
		}
	}
}

func TestFilterMatch(t *testing.T) {
	for _, tt := range []struct {
		filter  Filter
		subject Subject
		want    bool
	}{
		{"/a/b", "/a/b", true},
		{"/a/b", "/a/b/c", false},
		{"/a/b", "/a", false},
		{"/a/+", "/a/b", true},
		{"/a/+", "/a/", true},
		{"/a/+", "/a", false},
		{"/a/#", "/a", true},
		{"/a/#", "/a/b/c", true},
		{"/a/#", "/ab", false},
		{"/+/#", "/a", true},
		{"/+/+", "//a", true},
		{"/+", "//a", false},
		{"/#", "//a", true},
		{"/#", "/$SYS/x", false},
		{"/+/x", "/$SYS/x", false},
		{"/$SYS/#", "/$SYS/x", true},
		{"/a/#", "/a/$x", true},
		{"/#", "/a/$x", true},
		{"/+/b/#", "/a/b", true},
		{"/a//b", "/a//b", true},
		{"/a/+/b", "/a//b", true},
	} {
		if got := tt.filter.Match(tt.subject); got != tt.want {
			t.Errorf("%q matches %q = %v, want %v", tt.filter, tt.subject, got, tt.want)
		}
	}
}

// slowMatch is the rule as one would say it.
func slowMatch(f Filter, s Subject) bool {
	fs, ss := strings.Split(string(f[1:]), "/"), strings.Split(string(s[1:]), "/")
	if strings.HasPrefix(ss[0], "$") && (fs[0] == "+" || fs[0] == "#") {
		return false
	}
	for i, seg := range fs {
		if seg == "#" {
			return true
		}
		if i >= len(ss) || seg != "+" && seg != ss[i] {
			return false
		}
	}
	return len(fs) == len(ss)
}

func FuzzFilterMatch(f *testing.F) {
	f.Add("/a/+/#", "/a/b")
	f.Add("/#", "/$SYS")
	f.Add("/+//", "///")
	f.Fuzz(func(t *testing.T, fs, ss string) {
		filter, err := ParseFilter(fs)
		if err != nil {
			return
		}
		subject, err := ParseSubject(ss)
		if err != nil {
			return
		}
		want := slowMatch(filter, subject)
		if strings.HasSuffix(fs, "/#") && fs != "/#" && !want {
			want = slowMatch(filter[:len(filter)-2], subject) // "/a/#" also names "/a"
		}
		if got := filter.Match(subject); got != want {
			t.Errorf("%q matches %q = %v, want %v", filter, subject, got, want)
		}
		if filter.IsExact() && (Subject(filter) == subject) != filter.Match(subject) {
			t.Errorf("exact filter %q and %q", filter, subject)
		}
	})
}

func TestParsePosition(t *testing.T) {
	p := Position{0xc0ffee, 42}
	if got, err := ParsePosition(p.String()); err != nil || got != p {
		t.Errorf("ParsePosition(%q) = %v, %v", p, got, err)
	}
	for _, bad := range []string{"", "1", ":", "x:1", "1:x", "0:1", "1:-1", "1:1:1", "11111111111111111:1", "1:18446744073709551616"} {
		if _, err := ParsePosition(bad); !errors.Is(err, ErrPosition) {
			t.Errorf("ParsePosition(%q) = %v, want ErrPosition", bad, err)
		}
	}
}
