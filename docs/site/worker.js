// Browsers start no worker for a page that was opened from disk. The search then runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.receive(data);
      inside.importScripts = (...names) =>
        Promise.all(names.map((name) => this.load(new URL(name, address).href)));
      this.ready = this.load(String(address)).then(() => {
        for (const data of this.waiting) this.send(data);
        this.waiting = null;
      });
    }

    load(address) {
      return new Promise((done, failed) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = address;
        script.onload = done;
        script.onerror = failed;
        this.frame.contentDocument.body.append(script);
      });
    }

    // Messages are copies and arrive later, as those of a worker: an answer within the call would start the next question.
    receive(data) {
      const event = new MessageEvent("message", { data: structuredClone(data) });
      setTimeout(() => this.onmessage?.(event));
    }

    send(data) {
      const event = new MessageEvent("message", { data: structuredClone(data) });
      setTimeout(() => this.frame.contentWindow?.dispatchEvent(event));
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.send(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
