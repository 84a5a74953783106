package nackproto

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The table of PROTOCOL.md §10 and the table in code.go are one.
func TestCloseCodes(t *testing.T) {
	doc, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## 10. Close codes\n")
	section, _, _ = strings.Cut(section, "\n## 11.")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || !strings.HasPrefix(cells[0], "| 0x") {
			continue
		}
		rows++
		var code CloseCode
		fmt.Sscanf(cells[0], "| 0x%x", &code)
		after := "–"
		if code.MayComeBack() {
			after = code.After().String()
		}
		got := []string{code.String(), code.Meaning(), after}
		want := []string{cells[1], cells[3], strings.TrimSuffix(cells[4], " |\n")}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%#02x: the code says %q, the document %q", uint8(code), got, want)
		}
	}
	if rows != len(codes) {
		t.Errorf("the document has %d close codes, the code %d", rows, len(codes))
	}
}
