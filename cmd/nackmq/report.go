package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nackmq/nackmq/stream"
)

// A delivery is a message as sub shows it. MQTT does not tell a place.
type delivery struct {
	subject  stream.Subject
	pos      stream.Position
	payload  []byte
	kind     string // live, recovered or snapshot
	retained bool
}

// An incident is what happened between messages. Its JSON form is a contract.
type incident struct {
	Event   string `json:"event"` // up, down, continuous or reset
	Server  string `json:"server,omitempty"`
	Node    string `json:"node,omitempty"`
	Subject string `json:"subject,omitempty"`
	Epoch   string `json:"epoch,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`    // continuous: nothing is missing up to here
	Before  string `json:"before,omitempty"` // reset: the last position that was seen, EPOCH:SEQ
	Next    uint64 `json:"next,omitempty"`   // reset: the seq of the message that comes next
	First   uint64 `json:"first,omitempty"`  // reset: the oldest seq that can still be had
	Last    uint64 `json:"last,omitempty"`   // reset: the newest seq
	Reason  string `json:"reason,omitempty"`
}

// A reporter prints deliveries and incidents, one line each, as they happen.
type reporter struct {
	out  io.Writer // deliveries; as JSON also incidents
	err  io.Writer // incidents for people, so that they do not mix with the data
	json bool
}

// line is a delivery's JSON form, which is a contract.
type line struct {
	Subject  stream.Subject `json:"subject"`
	Epoch    string         `json:"epoch,omitempty"`
	Seq      stream.Seq     `json:"seq,omitempty"`
	Payload  string         `json:"payload"`
	Encoding string         `json:"encoding"`
	Kind     string         `json:"kind"`
	Retained bool           `json:"retained"`
}

func (r *reporter) delivery(d delivery) error {
	if r.json {
		l := line{Subject: d.subject, Seq: d.pos.Seq, Payload: string(d.payload), Encoding: "utf8", Kind: d.kind, Retained: d.retained}
		if !d.pos.IsZero() {
			l.Epoch = d.pos.Epoch.String()
		}
		if !utf8.Valid(d.payload) {
			l.Payload, l.Encoding = base64.StdEncoding.EncodeToString(d.payload), "base64"
		}
		return r.encode(l)
	}
	var b strings.Builder
	b.WriteString(string(d.subject))
	if !d.pos.IsZero() {
		b.WriteString("  " + d.pos.String())
	}
	switch {
	case d.retained:
		b.WriteString("  (retained)")
	case d.kind != "live":
		b.WriteString("  (" + d.kind + ")")
	}
	b.WriteString("  " + printable(d.payload) + "\n")
	_, err := io.WriteString(r.out, b.String())
	return err
}

func (r *reporter) incident(i incident) error {
	if r.json {
		return r.encode(i)
	}
	var text string
	switch i.Event {
	case "up":
		text = "connected"
		if i.Server != "" {
			text += " to " + i.Server
		}
		if i.Node != "" {
			text += " (node " + i.Node + ")"
		}
	case "down":
		text = "connection lost: " + i.Reason
	case "continuous":
		text = fmt.Sprintf("%s CONTINUOUS: nothing is missing up to %s:%d", i.Subject, i.Epoch, i.Seq)
	case "reset":
		text = fmt.Sprintf("%s RESET (%s): ", i.Subject, i.Reason)
		if i.Before != "" && i.Epoch != "" {
			text += "lost what came after " + i.Before + "; "
		}
		switch {
		case i.Epoch == "" && i.Before != "":
			text += "the server has no history of the subject, so what came after " + i.Before + " cannot be had, if there was anything"
		case i.Epoch == "":
			text += "the server has no history of the subject"
		case i.First > i.Last:
			text += fmt.Sprintf("nothing up to %s:%d can be had", i.Epoch, i.Last)
		default:
			text += fmt.Sprintf("going on with %s:%d, of %d to %d that can be had", i.Epoch, i.Next, i.First, i.Last)
		}
	default:
		text = i.Event + " " + i.Subject + " " + i.Reason
	}
	_, err := fmt.Fprintf(r.err, "-- %s\n", text)
	return err
}

// encode prints one JSON object and a newline, with "<", ">" and "&" as they are.
func (r *reporter) encode(v any) error {
	e := json.NewEncoder(r.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printable gives a payload as something that does no harm to a terminal.
func printable(p []byte) string {
	s := string(p)
	if !utf8.ValidString(s) {
		return fmt.Sprintf("(%d bytes) base64:%s", len(p), base64.StdEncoding.EncodeToString(p))
	}
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) && c != '\t' }) {
		return strconv.Quote(s)
	}
	return s
}
