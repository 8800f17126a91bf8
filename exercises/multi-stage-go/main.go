// A web page that greets its user. The name comes from the environment variable USER, the words around it
// from index.html, which must lie in the folder that the program is started in.
//
// Standard library only, one file and no go.mod.
package main

import (
	"html/template"
	"log"
	"net/http"
	"os"
)

const greeting = "Good day"

type view struct {
	Greeting, User string
}

func main() {
	page, err := template.ParseFiles("index.html")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if err := page.Execute(w, view{greeting, os.Getenv("USER")}); err != nil {
			log.Print(err)
		}
	})
	log.Print("listening on port 80")
	log.Fatal(http.ListenAndServe(":80", nil))
}
