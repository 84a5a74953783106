package bridge

import (
	"hash/fnv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A subject is "/" and a topic, so the two correspond one to one and every check
// of a subject is a check of the topic.

// subjectOf checks the topic of a publication.
func subjectOf(topic string) (stream.Subject, error) { return stream.ParseSubject("/" + topic) }

// topicOf is the inverse of subjectOf.
func topicOf(s stream.Subject) string { return string(s[1:]) }

// reserved reports whether clients may not publish to topic: $SYS is the
// broker's own voice, $share is no name at all. The exception is where a bridge
// between brokers tells its state, by a retained message and by its will.
func reserved(topic string) bool {
	if strings.HasPrefix(topic, "$SYS/broker/connection/") {
		return false
	}
	first, _, _ := strings.Cut(topic, "/")
	return first == "$SYS" || first == "$share"
}

const sharePrefix = "$share/"

// splitFilter takes "$share/GROUP/" off a filter and checks what is left. The
// group is empty for an ordinary filter.
func splitFilter(name string) (group string, f stream.Filter, ok bool) {
	if rest, shared := strings.CutPrefix(name, sharePrefix); shared {
		var filter string
		group, filter, ok = strings.Cut(rest, "/")
		if !ok || group == "" || strings.ContainsAny(group, "+#") {
			return "", "", false // MQTT 5, 4.8.2-1 and 4.8.2-2
		}
		name = filter
	} else if name == "$share" {
		return "", "", false
	}
	f, err := stream.ParseFilter("/" + name)
	return group, f, err == nil
}

// originOf gives the publisher that a client id stands for. It is the same on
// every node and after every restart.
func originOf(clientID string) stream.PublisherID {
	h := fnv.New64a()
	h.Write([]byte(clientID))
	if v := h.Sum64(); v != 0 {
		return stream.PublisherID(v)
	}
	return 1
}

// propsOf gives what a PUBLISH or a will says of itself, as it travels in the
// log; emptyType: that its content type is empty, too. It fails on a response topic that is no topic.
func propsOf(p *packets.Properties, emptyType bool) ([]byte, error) {
	var out stream.Props
	if p.PayloadFormatFlag {
		out.PayloadFormat = stream.FormatBytes
		if p.PayloadFormat == 1 {
			out.PayloadFormat = stream.FormatText
		}
	}
	out.ContentType, out.EmptyType = p.ContentType, emptyType
	if p.ResponseTopic != "" {
		s, err := subjectOf(p.ResponseTopic)
		if err != nil {
			return nil, err
		}
		out.ResponseSubject = s
	}
	out.CorrelationData = p.CorrelationData
	for _, u := range p.User {
		out.User = append(out.User, stream.UserProperty{Key: u.Key, Value: u.Val})
	}
	if out.IsZero() {
		return nil, nil
	}
	return stream.AppendProps(nil, &out), nil
}
