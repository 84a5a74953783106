package config

import (
	"os"
	"strconv"
	"strings"
)

// suggest gives the end of a sentence about an unknown name: the nearest of the
// known ones if one is near, otherwise what to do instead.
func suggest(name string, known []string, otherwise string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		// In a nested key the last part alone may have been written.
		_, last, _ := strings.Cut(k, ".")
		d := distance(name, k)
		if last != "" {
			d = min(d, distance(name, last)+1)
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return otherwise
	}
	return "; did you mean " + strconv.Quote(best) + "?"
}

// distance counts the letters to insert, delete or replace that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// at gives FILE:LINE of a key, or FILE alone if the line cannot be found, as in
// a file written in YAML's flow style.
func at(path, key string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return path
	}
	if line := lineOf(string(data), strings.Split(key, ".")); line > 0 {
		return path + ":" + strconv.Itoa(line)
	}
	return path
}

// lineOf follows the parts of a key down the indentation of a YAML text. It gives
// 0 where the text is not written in indented blocks.
func lineOf(text string, parts []string) int {
	level, outer := -1, -1 // indentation of the keys looked at; of the section they are in
	for i, line := range strings.Split(text, "\n") {
		rest := strings.TrimLeft(line, " ")
		depth := len(line) - len(rest)
		switch {
		case rest == "" || rest[0] == '#':
			continue
		case depth <= outer:
			return 0
		case level < 0:
			level = depth
		}
		if depth != level {
			continue
		}
		switch keyOf(rest) {
		case strings.Join(parts, "."):
			return i + 1
		case parts[0]:
			parts, outer, level = parts[1:], level, -1
		}
	}
	return 0
}

func keyOf(line string) string {
	key, _, _ := strings.Cut(line, ":")
	return strings.Trim(strings.TrimSpace(key), `"'`)
}
