package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string // what the sentence contains; empty: valid
	}{
		{"defaults", func(c *Config) {}, ""},
		{"localhost", func(c *Config) { c.MQTT = "localhost:1883" }, ""},
		{"IPv6 loopback", func(c *Config) { c.MQTT = "[::1]:1883" }, ""},
		{"IPv4 loopback as IPv6", func(c *Config) { c.MQTT = "[::ffff:127.0.0.1]:1883" }, ""},
		{"another loopback address", func(c *Config) { c.MQTT = "127.9.9.9:1883" }, ""},
		{"all on free ports", func(c *Config) { c.MQTT, c.Native, c.HTTP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0" }, ""},
		{"every interface", func(c *Config) { c.Native = "0.0.0.0:6225" }, "native: 0.0.0.0:6225 can be reached from other machines"},
		{"every interface, no host", func(c *Config) { c.Native = ":6225" }, "native: :6225 can be reached from other machines"},
		{"every interface, IPv6", func(c *Config) { c.HTTP = "[::]:8225" }, "say --allow-anonymous"},
		{"a name may mean anything", func(c *Config) { c.HTTP = "localhost.example.com:8225" }, "say --allow-anonymous"},
		{"everybody is let in", func(c *Config) { c.Native, c.AllowAnonymous = "0.0.0.0:6225", true }, ""},
		{"one port for two", func(c *Config) { c.Native = c.MQTT }, "native: 127.0.0.1:1883 is taken by mqtt already"},
		{"limits that contradict", func(c *Config) { c.Limits.SubjectAge = 1 }, "limits.subject-age: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.edit(&c)
			got := ""
			if err := c.Validate(); err != nil {
				got = err.Error()
			}
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("Validate() = %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestName(t *testing.T) {
	if got := (Config{NodeName: "n1"}).Name(); got != "n1" {
		t.Errorf("Name() = %q, want the given one", got)
	}
	if got := (Config{}).Name(); checkName(got) != nil {
		t.Errorf("Name() = %q, which is not a name", got)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "1048576": 1 << 20, "64MiB": 64 << 20, "2 GiB": 2 << 30, "3GB": 3e9, "5kB": 5000, "7B": 7, "1TiB": 1 << 40} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
		if got, err := ParseSize(FormatSize(want)); err != nil || got != want {
			t.Errorf("%d written as %q and read as %d, %v", want, FormatSize(want), got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "MiB", "1.5GiB", "1XB", "0x10", "9999999TiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, got)
		}
	}
}

// A limit out of its range is named by its key.
func TestLimitsAreNamedByTheirKeys(t *testing.T) {
	for _, k := range Keys() {
		name, is := strings.CutPrefix(k.Name, "limits.")
		if !is {
			continue
		}
		cfg := Default()
		v := reflect.ValueOf(&cfg.Limits).Elem()
		field := v.FieldByNameFunc(func(f string) bool { return strings.EqualFold(f, strings.ReplaceAll(name, "-", "")) })
		field.SetInt(-1)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), k.Name+": must ") {
			t.Errorf("%s = -1: %v", k.Name, err)
		}
	}
}
