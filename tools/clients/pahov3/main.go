// Program pahov3 is paho.mqtt.golang, the client of MQTT 3.1.1 that Go programs
// use, as a client in the tests of cmd/nackmq. It is a module of its own, so that
// ours does not depend on it.
//
//	pahov3 ADDRESS sub FILTER         prints "ready", then TOPIC|QOS|RETAIN|PAYLOAD
//	pahov3 ADDRESS pub                publishes what it reads: TOPIC|QOS|RETAIN|PAYLOAD
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: pahov3 ADDRESS sub FILTER | pub")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "pahov3:", err)
		os.Exit(1)
	}
}

func run(addr, what string, args []string) error {
	o := mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(fmt.Sprint("pahov3-", os.Getpid())).SetProtocolVersion(4)
	c := mqtt.NewClient(o)
	if err := done(c.Connect()); err != nil {
		return err
	}
	defer c.Disconnect(250)
	in := bufio.NewScanner(os.Stdin)
	if what == "sub" {
		err := done(c.Subscribe(args[0], 2, func(_ mqtt.Client, m mqtt.Message) {
			fmt.Printf("%s|%d|%d|%s\n", m.Topic(), m.Qos(), bit(m.Retained()), m.Payload())
		}))
		if err != nil {
			return err
		}
		fmt.Println("ready")
		for in.Scan() { // until standard input ends
		}
		return nil
	}
	for in.Scan() {
		f := strings.SplitN(in.Text(), "|", 4)
		if len(f) != 4 {
			return fmt.Errorf("%q is not TOPIC|QOS|RETAIN|PAYLOAD", in.Text())
		}
		if err := done(c.Publish(f[0], f[1][0]-'0', f[2] == "1", f[3])); err != nil {
			return err
		}
	}
	return in.Err()
}

func done(t mqtt.Token) error {
	t.Wait()
	return t.Error()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
