package nacknet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoffGrowsToItsMost(t *testing.T) {
	b := backoff{first: 250 * time.Millisecond, most: 30 * time.Second}
	var got []time.Duration
	for range 10 {
		got = append(got, b.next(0.5))
	}
	ms := time.Millisecond
	want := []time.Duration{125 * ms, 250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 15000 * ms, 15000 * ms, 15000 * ms}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("half of what each attempt may wait (-got +want):\n%s", d)
	}
	for range 100 {
		if d := b.next(0.999); d > b.most {
			t.Fatalf("%v is over the most", d)
		}
	}
	if b.reset(); b.next(0.5) != 125*ms {
		t.Error("after reset the backoff begins anew")
	}
}

func TestServersTakeTurns(t *testing.T) {
	now := time.Unix(1000, 0)
	var s servers
	for _, u := range []string{"nack://a", "nack://b"} {
		a, err := parseAddress(u)
		if err != nil {
			t.Fatal(err)
		}
		s.list = append(s.list, server{address: a})
	}
	s.configured = 2
	next := func() string {
		a, away := s.next(now)
		if away.After(now) {
			return a.url + " later"
		}
		return a.url
	}
	want := func(why string, urls ...string) {
		t.Helper()
		var got []string
		for range urls {
			got = append(got, next())
		}
		if d := cmp.Diff(got, urls); d != "" {
			t.Errorf("%s (-got +want):\n%s", why, d)
		}
	}
	want("in turn", "nack://a", "nack://b", "nack://a")
	s.learn([]string{"nack://c", "nack://a", "http://no", "nacks://d"}, false)
	want("what a server named comes too, once", "nack://b", "nack://c", "nacks://d", "nack://a")
	s.learn([]string{"nack://e", "nacks://f"}, true)
	want("from TLS nobody is sent to plain text", "nack://b", "nacks://f", "nack://a")
	b, _ := parseAddress("nack://b")
	s.stayAway(b, now.Add(time.Minute))
	want("who wants to be left alone is passed over", "nacks://f", "nack://a", "nacks://f")
	for _, k := range s.list {
		s.stayAway(k.address, now.Add(2*time.Minute))
	}
	s.stayAway(b, now.Add(time.Minute))
	want("when all do, the first that may be asked", "nack://b later")
}

func TestAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"nack://host":           "host:6225",
		"nacks://host":          "host:6226",
		"nack://host:1":         "host:1",
		"nack://[::1]:1":        "[::1]:1",
		"nack://[::1]":          "[::1]:6225",
		"ws://host/nack":        "",
		"wss://host:8443/nack":  "",
		"nack://127.0.0.1:6225": "127.0.0.1:6225",
	} {
		a, err := parseAddress(url)
		if err != nil || a.hostport != want {
			t.Errorf("%s: %q, %v, want %q", url, a.hostport, err, want)
		}
	}
}
