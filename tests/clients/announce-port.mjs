// Preloaded (`node --import`) into a server that takes port 0 but does not say which port it got: prints it.
import net from "node:net";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function announced(...args) {
  this.once("listening", () => process.stderr.write(`announced port ${this.address().port}\n`));
  return listen.apply(this, args);
};
