// talk: worker 0 listens, the others find it by its name and say who they are; each ends with 0 once everybody was heard.
//
//	talk PORT WORKERS HOST-OF-WORKER-0      with JOB_COMPLETION_INDEX in the environment
//	talk serve PORT...                      takes connections until it is stopped
//	talk reach HOST:PORT...                 fails unless each of them can be connected to, in the end
//	talk blocked HOST:PORT...               fails if any of them can
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const patience = 60 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("talk:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: talk PORT WORKERS HOST | talk serve PORT... | talk reach|blocked HOST:PORT...")
	}
	switch arguments[0] {
	case "serve":
		return serve(arguments[1:])
	case "reach":
		return reach(arguments[1:])
	case "blocked":
		return blocked(arguments[1:])
	}
	workers, err := strconv.Atoi(arguments[1])
	if err != nil {
		return err
	}
	if index := os.Getenv("JOB_COMPLETION_INDEX"); index != "0" {
		return say(net.JoinHostPort(arguments[2], arguments[0]), index)
	}
	return listen(":"+arguments[0], workers-1)
}

// Whoever connects has learned what there was to learn.
func serve(ports []string) error {
	ended := make(chan error)
	for _, port := range ports {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() {
			for {
				connection, err := listener.Accept()
				if err != nil {
					ended <- err
					return
				}
				connection.Close()
			}
		}()
	}
	fmt.Println("serves", ports)
	return <-ended
}

// What lets a pod in by its labels learns its address only once it has one.
func reach(addresses []string) error {
	deadline := time.Now().Add(patience)
	for _, address := range addresses {
		for err := try(address); err != nil; err = try(address) {
			if time.Now().After(deadline) {
				return err
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

func blocked(addresses []string) error {
	for _, address := range addresses {
		if try(address) == nil {
			return fmt.Errorf("%s: was to be blocked", address)
		}
	}
	return nil
}

func try(address string) error {
	connection, err := net.DialTimeout("tcp", address, 3*time.Second)
	fmt.Println(address, err)
	if err == nil {
		connection.Close()
	}
	return err
}

func listen(address string, peers int) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for range peers {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		line, err := bufio.NewReader(connection).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Printf("heard %s at %s from %s", line[:len(line)-1], connection.LocalAddr(), connection.RemoteAddr())
		fmt.Println()
		fmt.Fprintln(connection, "heard")
		connection.Close()
	}
	return nil
}

// The name comes to be once the other pod has an address, so it is asked for again and again.
func say(address, index string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			fmt.Fprintln(connection, "worker", index)
			_, err = bufio.NewReader(connection).ReadString('\n')
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}
