"""The built page: `page.js` and `page.css`, made from `web/` by `make page`."""
