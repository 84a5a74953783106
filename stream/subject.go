package stream

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSubject is the length of the longest subject and the longest filter in
// bytes: "/" and an MQTT topic of 65,535 bytes.
const MaxSubject = 1 + 65535

// ErrSubject is what ParseSubject wraps, ErrFilter what ParseFilter wraps.
var (
	ErrSubject = errors.New("invalid subject")
	ErrFilter  = errors.New("invalid filter")
)

// A Subject names a series of messages. It begins with "/"; the rest is one or
// more segments separated by "/", and a segment may be empty, since MQTT allows
// that. It is valid UTF-8 without U+0000, "+" and "#". Nothing is normalized:
// two subjects are the same when their bytes are.
//
// A subject is "/" and an MQTT topic, so the two correspond one to one.
type Subject string

// ParseSubject checks s. The error wraps ErrSubject and says what is wrong.
func ParseSubject(s string) (Subject, error) {
	if err := checkName(s, ErrSubject); err != nil {
		return "", err
	}
	if i := strings.IndexAny(s, "+#"); i >= 0 {
		return "", fmt.Errorf("%w %q: wildcard %q at byte %d, which only a filter may have", ErrSubject, clip(s), s[i], i)
	}
	return Subject(s), nil
}

// A Filter names a set of subjects. It is a subject in which a whole segment may
// be "+" (any one segment) and the last segment may be "#" (any number of
// segments, also none: "/a/#" matches "/a").
type Filter string

// ParseFilter checks s. The error wraps ErrFilter and says what is wrong.
func ParseFilter(s string) (Filter, error) {
	if err := checkName(s, ErrFilter); err != nil {
		return "", err
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '+' && s[i] != '#' {
			continue
		}
		if s[i-1] != '/' || i+1 < len(s) && s[i+1] != '/' {
			return "", fmt.Errorf("%w %q: %q must be a whole segment", ErrFilter, clip(s), s[i])
		}
		if s[i] == '#' && i+1 < len(s) {
			return "", fmt.Errorf("%w %q: \"#\" must be the last segment", ErrFilter, clip(s))
		}
	}
	return Filter(s), nil
}

// IsExact reports whether f has no wildcard and so matches one subject only,
// which is Subject(f).
func (f Filter) IsExact() bool { return !strings.ContainsAny(string(f), "+#") }

// Match reports whether f names s. A wildcard in the first segment does not
// match a first segment that begins with "$" (MQTT 5.0, 4.7.2).
func (f Filter) Match(s Subject) bool {
	fs, ss := string(f[1:]), string(s[1:])
	if len(ss) > 0 && ss[0] == '$' && len(fs) > 0 && (fs[0] == '+' || fs[0] == '#') {
		return false
	}
	for {
		fseg, frest, fmore := strings.Cut(fs, "/")
		if fseg == "#" {
			return true
		}
		sseg, srest, smore := strings.Cut(ss, "/")
		if fseg != "+" && fseg != sseg {
			return false
		}
		if !smore {
			return !fmore || frest == "#"
		}
		if !fmore {
			return false
		}
		fs, ss = frest, srest
	}
}

// checkName checks what subjects and filters have in common.
func checkName(s string, kind error) error {
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty; write it with a leading \"/\"", kind)
	case s[0] != '/':
		return fmt.Errorf("%w %q: it must begin with \"/\"; write %q", kind, clip(s), "/"+clip(s))
	case len(s) == 1:
		return fmt.Errorf("%w \"/\": a name must follow the \"/\"", kind)
	case len(s) > MaxSubject:
		return fmt.Errorf("%w: %d bytes, at most %d", kind, len(s), MaxSubject)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w %q: it is not valid UTF-8", kind, clip(s))
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		return fmt.Errorf("%w %q: U+0000 at byte %d", kind, clip(s), i)
	}
	return nil
}

// clip shortens a name that goes into an error, so that a hostile one does not
// fill the log.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
