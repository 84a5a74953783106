package nackproto

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestConversations plays the conversations of PROTOCOL.md against a
// ClientSession. In a fenced block "conversation", "<" is a frame from the server
// and ">" the next one of the client, as text with its bytes on the line below;
// "~" lets time pass, and "=" gives the seqs that the client took since the last.
func TestConversations(t *testing.T) {
	doc, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```conversation ")[1:]
	if len(blocks) == 0 {
		t.Fatal("PROTOCOL.md has no conversation: are they still in fenced blocks?")
	}
	for _, block := range blocks {
		block, _, _ := strings.Cut(block, "```")
		name, rest, _ := strings.Cut(block, "\n")
		t.Run(name, func(t *testing.T) { playConversation(t, strings.Split(strings.TrimSpace(rest), "\n")) })
	}
}

func playConversation(t *testing.T, lines []string) {
	now := time.Unix(1_800_000_000, 0)
	s, err := NewClientSession(ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s.HandleConnected(now)
	s.Subscribe("/sensor/temp", Start{})
	var decoder FromServer
	for i := 0; i < len(lines); i++ {
		mark, text, _ := strings.Cut(lines[i], " ")
		var b []byte
		if mark == "<" || mark == ">" {
			if i++; i == len(lines) {
				t.Fatalf("%s has no bytes", text)
			}
			if b, err = hex.DecodeString(strings.ReplaceAll(lines[i], " ", "")); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		switch mark {
		case "<":
			f, n, err := decoder.Decode(b, testLimit)
			if err != nil || n != len(b) || f.String() != text {
				t.Fatalf("the server's bytes are %v, %v, want %s", f, err, text)
			}
			if err := s.HandleFrame(now, f); err != nil {
				t.Fatal(err)
			}
		case ">":
			f, ok := s.PollFrame(now)
			if !ok {
				t.Fatalf("the client sends nothing, want %s", text)
			}
			if got := f.AppendTo(nil); f.String() != text || !bytes.Equal(got, b) {
				t.Fatalf("the client sends\n got %s % x\nwant %s % x", f, got, text, b)
			}
		case "~":
			d, err := time.ParseDuration(text)
			if err != nil {
				t.Fatal(err)
			}
			s.HandleTimeout(now.Add(d - time.Millisecond))
			if f, ok := s.PollFrame(now); ok {
				t.Fatalf("the client sends %v before %v are over", f, d)
			}
			now = now.Add(d)
			s.HandleTimeout(now)
		case "=":
			took := "nothing"
			for e, ok := s.PollEvent(); ok; e, ok = s.PollEvent() {
				if d, is := e.(*Delivery); is {
					took = strings.TrimPrefix(fmt.Sprintf("%s %d", took, d.Message.Position.Seq), "nothing ")
				}
			}
			if took != text {
				t.Fatalf("line %d: the client took %s, want %s", i+1, took, text)
			}
		default:
			t.Fatalf("line %q", lines[i])
		}
	}
	if f, ok := s.PollFrame(now); ok {
		t.Errorf("the client sends %v besides", f)
	}
}
